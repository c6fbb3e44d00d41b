"""What a training program said, line by line: bounded for each attempt, and read page by page.

Of an attempt the first `HEAD` and the last `TAIL` lines are kept, since the start says what was run and the end why it
failed. What is left out between them shows as a gap in the numbers, which readers are told of.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import delete, func, insert, select

from llmops_resources import work
from llmops_resources.database import Transaction
from llmops_resources.training.tables import JobRow, LogRow
from llmops_resources.values import Value, utc_now

HEAD: Final = 1_000
TAIL: Final = 4_000
LONGEST: Final = 2_000  # characters of a line

Source = Literal["program", "progress", "platform"]


class Said(Value):
    """A line to be kept, without secrets. `program`: its stderr; `platform`: what the platform says of it."""

    text: str
    source: Source = "program"
    at: datetime = Field(default_factory=utc_now)


class LogLine(Value):
    """A kept line. `number` counts from 1 through all attempts; `left_out`: lines before it that were not kept."""

    number: int
    attempt: int
    at: datetime
    source: Source
    text: str
    left_out: int


class LogPage(Value):
    """Lines in order; `next` is what to ask for `after` to go on, and `more` whether there is more by now."""

    lines: tuple[LogLine, ...]
    next: int
    more: bool


def append(tx: Transaction, job_id: UUID, attempt: int, lines: Sequence[Said]) -> None:
    """Keep lines as the attempt's newest. Telemetry: not audited. Raises NotFound for an unknown job."""
    row = work.load(tx, JobRow, job_id, "training job")  # locked, so that numbers are given one after another
    if not lines:
        return
    newest = tx.session.scalar(select(func.max(LogRow.number)).where(LogRow.job_id == row.id)) or 0
    values = [
        {"job_id": row.id, "number": newest + place, "attempt": attempt, "at": line.at, "source": line.source,
         "text": _cut(line.text)}
        for place, line in enumerate(lines, start=1)
    ]  # fmt: skip
    tx.session.execute(insert(LogRow), values)
    _drop_the_middle(tx, row.id, attempt)


def of_job(tx: Transaction, job_id: UUID | str, *, after: int = 0, limit: int = 500) -> LogPage:
    """The lines that follow number `after`. Raises NotFound for an unknown job."""
    row = work.read(tx, JobRow, job_id, "training job")
    query = (
        select(LogRow)
        .where(LogRow.job_id == row.id, LogRow.number > after)
        .order_by(LogRow.number)
        .limit(limit + 1)
    )
    found = tx.session.scalars(query).all()
    lines, before = [], after
    for line in found[:limit]:
        lines.append(
            LogLine(
                number=line.number, attempt=line.attempt, at=line.at, source=_source(line.source), text=line.text,
                left_out=line.number - before - 1,
            )
        )  # fmt: skip
        before = line.number
    return LogPage(lines=tuple(lines), next=before, more=len(found) > limit)


def _drop_the_middle(tx: Transaction, job_id: UUID, attempt: int) -> None:
    mine = (LogRow.job_id == job_id, LogRow.attempt == attempt)
    first, last = tx.session.execute(select(func.min(LogRow.number), func.max(LogRow.number)).where(*mine)).one()
    if last - first >= HEAD + TAIL:
        middle = (LogRow.number >= first + HEAD, LogRow.number <= last - TAIL)
        tx.erase(delete(LogRow).where(*mine, *middle))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _source(text: str) -> Source:
    return "progress" if text == "progress" else "platform" if text == "platform" else "program"
