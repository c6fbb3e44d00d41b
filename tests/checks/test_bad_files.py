"""Every kind of bad file of the catalogue, sent through the verb that takes uploads in, parsing process included."""

import json
import math
import re
import resource
from pathlib import Path
from typing import Any

import pytest

from llmops_resources.blobs import Blobs, open_blobs
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.profiles import profile
from llmops_resources.checks.quality import check_quality
from llmops_resources.checks.structure import check_structure
from llmops_resources.checks.uploads import take_in
from llmops_resources.errors import InvalidInput, PlatformError, TooLarge, UnsupportedFormat, ValidationFailed
from tests.checks.bad_files import CATALOGUE, BadFile

pytestmark = pytest.mark.slow

OPTIONS = CheckOptions(ner_sample_rows=0, parser_seconds=60, parser_memory_bytes=3 * 1024**3)
MOST_MEMORY = 1024**3


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return open_blobs((tmp_path / "blobs").as_uri())


@pytest.mark.parametrize("bad", CATALOGUE, ids=lambda bad: bad.kind)
def test_a_bad_file_is_refused_with_a_remedy_or_read_exactly(bad: BadFile, blobs: Blobs, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if bad.rows is None:
        with pytest.raises(PlatformError) as caught:
            take_in(blobs, "datasets/d/1", bad.files(), expected=None, options=OPTIONS, max_bytes=1024**3)
        _is_a_clean_refusal(caught.value, bad.refused)
        assert not [entry for folder in ("datasets", "staging") for entry in blobs.list(folder)]
    else:
        take_in(blobs, "datasets/d/1", bad.files(), expected=None, options=OPTIONS, max_bytes=1024**3)
        _is_read_exactly(bad, bad.rows, tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    # Until it becomes the parser, a child counts what this process holds, which has made the bomb itself.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after <= max(before, own, MOST_MEMORY // 1024), "the parsing process took more memory than it should"


def _is_a_clean_refusal(error: PlatformError, pattern: str) -> None:
    assert isinstance(error, InvalidInput | UnsupportedFormat | TooLarge | ValidationFailed)
    said = [error.message, *(detail["problem"] for detail in error.details)]
    assert re.search(pattern, " ".join(said)), said
    assert error.remedy
    assert all(detail["remedy"] and detail["path"] for detail in error.details)
    assert max(map(len, said)) <= 500
    assert len(error.details) <= 20
    assert "\0" not in " ".join(said)
    assert not re.search("parser (crashed|failed|took)", " ".join(said)), said


def _is_read_exactly(bad: BadFile, rows: dict[str, list[Any]], folder: Path) -> None:
    files = []
    for name, body in bad.files():
        (folder / name).write_bytes(b"".join(body))
        files.append((name, folder / name))
    (folder / "rows").mkdir()
    _, structure, spool = check_structure(files, folder / "rows", expected=None, options=OPTIONS)
    assert structure.passed
    assert spool is not None
    assert spool.scan().collect().to_dict(as_series=False) == rows
    assert [spool.place(i)[0] for i in range(spool.rows)] == sorted(spool.place(i)[0] for i in range(spool.rows))
    found = profile(spool)
    quality, columns = check_quality(spool, structure, found, None), found.columns
    assert [column.name for column in columns] == list(rows)
    assert [column.nulls for column in columns] == [cells.count(None) for cells in rows.values()]
    stored = json.dumps([quality.json_dict(), *(column.json_dict() for column in columns)])
    assert "\\u0000" not in stored, "PostgreSQL stores no NUL"
    assert not _wild_numbers(json.loads(stored)), "JSON has no such numbers"


def _wild_numbers(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_wild_numbers, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)


def test_the_catalogue_has_every_kind_once() -> None:
    kinds = [bad.kind for bad in CATALOGUE]
    assert len(kinds) == len(set(kinds)) >= 78
    assert all(bool(bad.refused) != (bad.rows is not None) for bad in CATALOGUE)
