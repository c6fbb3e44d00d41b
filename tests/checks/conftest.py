"""Verbs that write small data set files and check them."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.pii import PiiReport, check_pii
from llmops_resources.checks.schema import ExpectedSchema
from llmops_resources.checks.spool import ColumnType, Spool, SpooledColumn, SpooledFile
from llmops_resources.checks.structure import StructureReport, check_structure

Structured = tuple[StructureReport, Spool | None]


@pytest.fixture
def structure_of(tmp_path: Path) -> Callable[..., Structured]:
    """Write files (name to content) and check their structure."""

    def structure_of(
        files: dict[str, bytes | str], expected: ExpectedSchema | None = None, **options: int | float
    ) -> Structured:
        pairs = []
        for name, content in files.items():
            path = tmp_path / name
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            pairs.append((name, path))
        folder = tmp_path / f"spool-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        _, report, spool = check_structure(pairs, folder, expected=expected, options=CheckOptions(**options))
        return report, spool

    return structure_of


@pytest.fixture
def pii_of(scan_of: Callable[..., PiiReport]) -> Callable[..., PiiReport]:
    """Scan a list of texts as the column `text`, without the language model unless rows are asked for."""

    def pii_of(
        texts: list[str] | list[int] | list[float | None],
        column: str = "text",
        ner_sample_rows: int = 0,
        kind: ColumnType | None = None,
        **options: object,
    ) -> PiiReport:
        kinds = {} if kind is None else {column: kind}
        return scan_of({column: texts}, kinds=kinds, ner_sample_rows=ner_sample_rows, **options)

    return pii_of


@pytest.fixture
def scan_of(tmp_path: Path) -> Callable[..., PiiReport]:
    """Scan a table (name to values), spooled as one part or in several of `part_rows` rows."""

    def scan_of(
        table: dict[str, list[str] | list[int] | list[float | None]],
        kinds: dict[str, ColumnType] | None = None,
        part_rows: int = 1_000_000,
        ner_sample_rows: int = 0,
        progress: Callable[[float], None] = lambda _: None,
        **options: object,
    ) -> PiiReport:
        folder = tmp_path / f"spool-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        frame = pl.DataFrame(table)
        for number, part in enumerate(frame.iter_slices(part_rows)):
            part.write_parquet(folder / f"part-{number:06}.parquet")
        told = kinds or {}
        spool = Spool(
            folder=folder,
            files=(SpooledFile(name="texts.parquet", rows=frame.height),),
            columns=tuple(
                SpooledColumn(
                    name=name,
                    type=told.get(name, ColumnType.STRING if dtype == pl.String else ColumnType.INTEGER),
                )
                for name, dtype in frame.schema.items()
            ),
        )
        chosen = CheckOptions.model_validate({"ner_sample_rows": ner_sample_rows, **options})
        return check_pii(spool, chosen, progress)

    return scan_of
