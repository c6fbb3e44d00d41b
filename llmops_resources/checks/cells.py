"""The cells of a data set as texts to scan: which columns, each distinct text once, what hides in them made plain."""

from collections.abc import Iterator

import polars as pl

from llmops_resources.checks.disguise import DISGUISE, ENCODED, encoded_texts, undisguised, unescaped_json
from llmops_resources.checks.hits import Hit, without_weaker_overlaps
from llmops_resources.checks.scan import PatternScan
from llmops_resources.checks.spool import ColumnType, Spool

_SMALLEST_IDENTIFIER = 10**8  # a whole number with fewer digits is no phone, card or account number
_LARGEST_EXACT = 2**53


def text_columns(frame: pl.DataFrame, spool: Spool) -> dict[str, pl.Series]:
    """The columns that can hold personal data, as text: strings, and whole numbers long enough for an identifier.

    A gap in a column of whole numbers makes many writers store them as 4111111111111111.0; they are whole again here.
    """
    numbers = {column.name for column in spool.columns if column.type is ColumnType.NUMBER}
    texts = {}
    for column in frame.get_columns():
        if column.dtype == pl.String:
            texts[column.name] = column.str.replace(r"\.0+$", "") if column.name in numbers else column
        elif column.dtype.is_integer() and (column.abs() >= _SMALLEST_IDENTIFIER).any():
            texts[column.name] = column.cast(pl.String)
        elif column.dtype.is_float():
            whole = (column == column.floor()) & column.abs().is_between(_SMALLEST_IDENTIFIER, _LARGEST_EXACT)
            if whole.any():
                kept = pl.select(pl.when(whole).then(column.cast(pl.Int64, strict=False))).to_series()
                texts[column.name] = kept.cast(pl.String).alias(column.name)
    return texts


class CellScan:
    """Runs a pattern scan over the cells of a column."""

    def __init__(self, patterns: PatternScan) -> None:
        self._patterns = patterns

    def hits(self, values: pl.Series, *, nested: bool) -> Iterator[tuple[Hit, str, int, int]]:
        """(hit, text, index of the first row with this text, number of such rows), texts in order of appearance.

        `nested`: the texts are JSON. What base64 hides is found at the place of the encoded run.
        """
        name = values.name
        distinct = (
            pl.DataFrame({"text": values})
            .with_row_index("row")
            .drop_nulls("text")
            .group_by("text", maintain_order=True)
            .agg(pl.col("row").first(), pl.len().alias("times"))
            .with_columns(
                pl.col("text").str.contains(DISGUISE).alias("disguised"),
                pl.col("text").str.contains(ENCODED).alias("encoded"),
                (pl.col("text").str.contains(r"\\", literal=False) & nested).alias("escaped"),
            )
        )
        plain, offsets = self._plain(distinct)
        found = self._patterns.scan(plain, name)
        decoded = self._decoded(distinct, name)
        for index in sorted(found.keys() | decoded.keys()):
            text, row, times = distinct.row(index)[:3]
            moved = offsets.get(index)
            for hit in without_weaker_overlaps(found.get(index, ())):
                place = hit if moved is None else hit._replace(start=moved[hit.start], end=moved[hit.end - 1] + 1)
                yield place, text, row, times
            for hit in decoded.get(index, ()):
                yield hit, text, row, times

    def _plain(self, distinct: pl.DataFrame) -> tuple[pl.Series, dict[int, list[int]]]:
        """The texts as they are to be read, and where the characters of those that moved came from."""
        hidden = (distinct["disguised"] | distinct["escaped"]).arg_true()
        if not len(hidden):
            return distinct["text"], {}
        texts, offsets = distinct["text"].to_list(), {}
        for index in hidden.to_list():
            text = unescaped_json(texts[index]) if distinct["escaped"][index] else texts[index]
            texts[index], moved = undisguised(text)
            if moved is not None:
                offsets[index] = moved
        return pl.Series("text", texts, pl.String), offsets

    def _decoded(self, distinct: pl.DataFrame, name: str) -> dict[int, list[Hit]]:
        """By index, what is found in base64."""
        runs = [
            (index, start, end, said)
            for index in distinct["encoded"].arg_true().to_list()
            for start, end, said in encoded_texts(distinct["text"][index])
        ]
        found = self._patterns.scan(pl.Series("text", [said for *_, said in runs], pl.String), name)
        hits: dict[int, list[Hit]] = {}
        for run, inside in found.items():
            index, start, end, _ = runs[run]
            kinds = {hit.entity: hit.score for hit in reversed(inside)}
            hits.setdefault(index, []).extend(Hit(kind, start, end, score) for kind, score in kinds.items())
        return hits
