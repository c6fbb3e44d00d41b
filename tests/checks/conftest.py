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
def pii_of(tmp_path: Path) -> Callable[..., PiiReport]:
    """Scan a list of texts as the column `text`, without the language model unless rows are asked for."""

    def pii_of(
        texts: list[str] | list[int] | list[float | None],
        column: str = "text",
        ner_sample_rows: int = 0,
        kind: ColumnType | None = None,
        **options: object,
    ) -> PiiReport:
        folder = tmp_path / f"spool-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        pl.DataFrame({column: texts}).write_parquet(folder / "part-000000.parquet")
        kind = kind or (ColumnType.STRING if isinstance(texts[0], str) else ColumnType.INTEGER)
        spool = Spool(
            folder=folder,
            files=(SpooledFile(name="texts.parquet", rows=len(texts)),),
            columns=(SpooledColumn(name=column, type=kind),),
        )
        return check_pii(spool, CheckOptions.model_validate({"ner_sample_rows": ner_sample_rows, **options}))

    return pii_of
