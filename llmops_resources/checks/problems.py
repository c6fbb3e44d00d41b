"""What is wrong with the structure of a data set, one entry per place, bounded in number and in length."""

from collections import Counter

from llmops_resources.checks.formats import shown
from llmops_resources.values import Value


class Problem(Value):
    """One thing wrong. `row` counts data rows of `file` from 1 (a CSV header is not a row); None concerns the file."""

    kind: str
    message: str
    remedy: str
    file: str = ""
    row: int | None = None
    column: str | None = None


class Problems:
    """A list of problems that keeps the first `per_kind` of each kind and counts the rest."""

    def __init__(self, per_kind: int) -> None:
        self._per_kind = per_kind
        self.kept: list[Problem] = []
        self.counts: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()

    def add(
        self,
        kind: str,
        message: str,
        remedy: str,
        *,
        file: str = "",
        row: int | None = None,
        column: str | None = None,
        count: int = 1,
    ) -> None:
        """Record `count` occurrences of which this one is shown. Parsers quote input in messages, so they are cut."""
        self.counts[kind] += count
        self._kept[kind] += 1
        if self._kept[kind] <= self._per_kind:
            self.kept.append(
                Problem(
                    kind=kind,
                    message=shown(message, 300),
                    remedy=remedy,
                    file=shown(file),
                    row=row,
                    column=None if column is None else shown(column),
                )
            )

    @property
    def total(self) -> int:
        """How many problems were found, the ones not kept included."""
        return self.counts.total()
