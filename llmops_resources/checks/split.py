"""Numbers that are spread over several columns, as the halves of a resident number are: neighbours read together.

Two columns of small numbers are common and mean nothing together, so only what proves itself counts: a right check
digit, or a phone number with its leading zero, in most of the rows.
"""

from collections import defaultdict
from collections.abc import Iterator

import polars as pl

from llmops_resources.checks.cells import CellScan
from llmops_resources.checks.hits import Hit

_MOST_COLUMNS = 4  # a card in groups of four
_MOST_DIGITS = 7
_SHARE = 0.5  # of the rows must look like one kind of data: by chance, one in ten has a right check digit


class JoinedScan:
    """Reads neighbouring columns of short digits as one number, with hyphens between."""

    def __init__(self, cells: CellScan) -> None:
        self._cells = cells
        self.columns: dict[str, None] = {}

    def hits(self, frame: pl.DataFrame) -> Iterator[tuple[Hit, str, str, int, int]]:
        """(hit, joined text, "first + second + …", index of the first row with it, number of such rows)."""
        for joined in _joined(frame):
            self.columns[joined.name] = None
            by_kind = defaultdict(list)
            for hit, text, row, times in self._cells.hits(joined, nested=False):
                if hit.end - hit.start == len(text) and (hit.score == 1 or _dialled_at_home(hit, text)):
                    by_kind[hit.entity].append((hit, text, row, times))
            rows = len(joined) - joined.null_count()
            for found in by_kind.values():
                if sum(times for *_, times in found) >= _SHARE * rows:
                    yield from ((hit, text, joined.name, row, times) for hit, text, row, times in found)


def _dialled_at_home(hit: Hit, text: str) -> bool:
    return hit.entity == "PHONE_NUMBER" and text.startswith("0")


def _joined(frame: pl.DataFrame) -> Iterator[pl.Series]:
    """Each run of two to four neighbours of digits, as one column of texts."""
    short = [_short_digits(column) for column in frame.get_columns()]
    for first in range(len(short)):
        run: list[pl.Series] = []
        for column in short[first : first + _MOST_COLUMNS]:
            if column is None:
                break
            run.append(column)
            if len(run) > 1:
                name = " + ".join(part.name for part in run)
                yield pl.select(pl.concat_str(run, separator="-").alias(name)).to_series()


def _short_digits(column: pl.Series) -> pl.Series | None:
    """The column as text when it holds nothing but two to seven digits, else None."""
    if not (column.dtype == pl.String or column.dtype.is_integer()) or column.null_count() == len(column):
        return None
    texts = column.cast(pl.String)
    return texts if texts.str.contains(rf"\A[0-9]{{2,{_MOST_DIGITS}}}\z").all() else None
