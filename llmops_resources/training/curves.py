"""Curves of metrics with few points, whatever was recorded: no peak and no dip is lost."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, Float, cast, func, select, tuple_
from sqlalchemy.dialects.postgresql import array

from llmops_resources.database import Transaction
from llmops_resources.training.tables import MetricRow
from llmops_resources.values import Value

POINTS: Final = 500
_BUCKETS: Final = (POINTS - 2) // 2  # each gives its lowest and its highest point; the curve's two ends are kept too


class Curve(Value):
    """A metric of a job over its steps.

    `points` are (step, value) in order, at most 500: all, or the lowest and the highest of each of equal stretches of
    steps, and the first and the last. `count` is how many were recorded, `lowest` and `highest` are of them all.
    """

    job_id: UUID
    points: tuple[tuple[int, float], ...]
    count: int
    lowest: float
    highest: float
    last: float


def curves(tx: Transaction, job_ids: Sequence[UUID], names: Iterable[str]) -> Mapping[str, Sequence[Curve]]:
    """The curves of the jobs by metric, jobs in the order given. Long ones are thinned out in the database."""
    query = (
        select(
            MetricRow.name, MetricRow.job_id, func.min(MetricRow.step), func.max(MetricRow.step), func.count()
        )
        .where(MetricRow.job_id.in_(job_ids), MetricRow.name.in_(list(names)))
        .group_by(MetricRow.name, MetricRow.job_id)
    )  # fmt: skip
    extents = sorted(tx.session.execute(query), key=lambda row: (row[0], job_ids.index(row[1])))
    short = _short(tx, [(job_id, name) for name, job_id, _, _, count in extents if count <= POINTS])
    found: dict[str, list[Curve]] = {}
    for name, job_id, first, last, count in extents:
        points = short.get((job_id, name)) or _thinned(tx, job_id, name, first, last)
        values = [value for _, value in points]
        found.setdefault(name, []).append(
            Curve(
                job_id=job_id, points=tuple(points), count=count, lowest=min(values), highest=max(values),
                last=values[-1],
            )
        )  # fmt: skip
    return found


def _short(tx: Transaction, series: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], list[tuple[int, float]]]:
    """All points of each of the series, by step."""
    query = (
        select(MetricRow.job_id, MetricRow.name, MetricRow.step, MetricRow.value)
        .where(tuple_(MetricRow.job_id, MetricRow.name).in_(series))
        .order_by(MetricRow.step)
    )
    found: dict[tuple[UUID, str], list[tuple[int, float]]] = {}
    for job_id, name, step, value in tx.session.execute(query) if series else ():
        found.setdefault((job_id, name), []).append((step, value))
    return found


def _thinned(tx: Transaction, job_id: UUID, name: str, first: int, last: int) -> list[tuple[int, float]]:
    """The lowest and the highest point of each stretch of steps, and the curve's ends."""
    bucket = (cast(MetricRow.step, BigInteger) - first) * _BUCKETS // (last - first + 1)
    # Arrays are compared element by element, so the least (value, step) is the lowest point.
    valued = array([MetricRow.value, cast(MetricRow.step, Float)])
    stepped = array([cast(MetricRow.step, Float), MetricRow.value])
    query = (
        select(func.min(valued), func.max(valued), func.min(stepped), func.max(stepped))
        .where(MetricRow.job_id == job_id, MetricRow.name == name)
        .group_by(bucket)
        .order_by(bucket)
    )
    rows = tx.session.execute(query).all()
    kept = {(int(step), value) for lowest, highest, _, _ in rows for value, step in (lowest, highest)}
    return sorted(kept | {(int(step), value) for step, value in (rows[0][2], rows[-1][3])})
