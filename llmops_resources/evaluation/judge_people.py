"""What people said of the answers that models judge, on one benchmark and by one rubric."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from llmops_resources.catalog import versions
from llmops_resources.database import Transaction
from llmops_resources.evaluation.review_judgements import judgements
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.evaluation.tables import EvaluationRow, ReviewRow, ReviewUnitRow

#: Whose answer to which sample: the evaluation, or the two that are compared, and the sample's number.
UnitKey = tuple[frozenset[UUID], int]


@dataclass(frozen=True)
class People:
    """By criterion, unit and person what was said. Units in the order in which they were last judged, newest first;
    `reviews` oldest first, `answers` the evaluations they are of."""

    said: Mapping[str, Mapping[UnitKey, Mapping[str, float]]]
    reviews: tuple[UUID, ...]
    answers: frozenset[UUID]


def said(tx: Transaction, benchmark: str, rubric: Rubric) -> People:
    """All that closed reviews under a rubric say of answers on any version of a benchmark.

    Of a person counts the last thing they said of a unit. Adjudications are left out: they come after the others'.
    """
    rows = _closed(tx, benchmark, rubric.digest)
    found: dict[str, dict[UnitKey, dict[str, float]]] = {criterion.name: {} for criterion in rubric.criteria}
    for row in rows:
        samples = select(ReviewUnitRow.number, ReviewUnitRow.sample).filter_by(review_id=row.id)
        sample_of = dict[int, int](tx.session.execute(samples).all())
        whose = frozenset(filter(None, (row.evaluation_id, row.other_id)))
        by_unit: defaultdict[UnitKey, dict[str, dict[str, float]]] = defaultdict(dict)
        for judgement in judgements(tx, row):
            if not judgement.adjudication:
                by_unit[whose, sample_of[judgement.unit]][judgement.person] = judgement.values
        for key, people in by_unit.items():
            for name, units in found.items():
                before = units.pop(key, {})  # so that the unit is the newest
                now = {who: oriented(each[name], row.evaluation_id, row.other_id) for who, each in people.items()}
                units[key] = before | now
    newest_first = {name: dict(reversed(each.items())) for name, each in found.items()}
    answers = frozenset(filter(None, (each for row in rows for each in (row.evaluation_id, row.other_id))))
    return People(newest_first, tuple(row.id for row in rows), answers)


def oriented(value: float, first: UUID | None, other: UUID | None) -> float:
    """A judgement as if the evaluation of the lower id came first, so that it is the same whichever way it was asked;
    of one answer alone, the judgement as it is."""
    return 1 - value if other is not None and str(first) > str(other) else value


def _closed(tx: Transaction, benchmark: str, rubric: str) -> list[ReviewRow]:
    datasets = versions.labels()
    query = (
        select(ReviewRow)
        .join(EvaluationRow, EvaluationRow.id == ReviewRow.evaluation_id)
        .join(datasets, datasets.c.id == EvaluationRow.dataset_id)
        .where(datasets.c.name == benchmark, ReviewRow.rubric_digest == rubric, ReviewRow.closed_at.is_not(None))
    )
    return list(tx.session.scalars(query.order_by(ReviewRow.closed_at, ReviewRow.id)))
