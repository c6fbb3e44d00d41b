"""Reviews as those see them who do not judge in them; a page of them takes as many questions as one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, select

from llmops_resources.catalog import versions
from llmops_resources.catalog.versions import Named
from llmops_resources.database import Transaction
from llmops_resources.evaluation.review_results import Summary
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.evaluation.tables import (
    EvaluationRow,
    ReviewAssignmentRow,
    ReviewExclusionRow,
    ReviewRow,
    ReviewRubricRow,
    ReviewScoreRow,
    ReviewUnitRow,
)
from llmops_resources.values import Value


class ReviewStatus(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class ReviewerProgress(Value):
    reviewer: str
    assigned: int
    scored: int
    excluded: bool


class Review(Value):
    """A review as those see it who do not judge in it. `open_slots` wait for somebody with one of the roles.

    Its adjudicator sees whose answers they are when it is closed: until then models and evaluations are None.
    """

    id: UUID
    evaluation_id: UUID | None
    other_evaluation_id: UUID | None
    model: str | None
    other_model: str | None
    benchmark: str
    rubric_digest: str
    rubric: Rubric
    overlap: int
    roles: tuple[str, ...]
    adjudicator: str | None
    status: ReviewStatus
    created_by: str
    created_at: datetime
    closed_at: datetime | None
    units: int
    open_slots: int
    scored: int
    reviewers: tuple[ReviewerProgress, ...]
    result: Summary | None


@dataclass(frozen=True)
class _Facts:
    """What the values of some reviews are made of."""

    models: Mapping[UUID, Named]  # of an evaluation
    benchmarks: Mapping[UUID, Named]
    rubrics: Mapping[str, Rubric]
    units: Mapping[UUID, int]
    live: Mapping[UUID, int]
    people: Mapping[UUID, list[ReviewerProgress]]


def values(tx: Transaction, rows: Sequence[ReviewRow]) -> list[Review]:
    """The public values of rows."""
    facts = _facts(tx, rows)
    return [_value(row, facts, blind=_is_blind(tx, row)) for row in rows]


def _value(row: ReviewRow, facts: _Facts, *, blind: bool) -> Review:
    people = facts.people.get(row.id, [])
    units = facts.units.get(row.id, 0)
    return Review(
        id=row.id,
        evaluation_id=None if blind else row.evaluation_id,
        other_evaluation_id=None if blind else row.other_id,
        model=None if blind else " ".join(facts.models[row.evaluation_id]),
        other_model=" ".join(facts.models[row.other_id]) if row.other_id and not blind else None,
        benchmark=" ".join(facts.benchmarks[row.evaluation_id]),
        rubric_digest=row.rubric_digest,
        rubric=facts.rubrics[row.rubric_digest],
        overlap=row.overlap,
        roles=tuple(row.roles),
        adjudicator=row.adjudicator,
        status=ReviewStatus(row.status),
        created_by=row.created_by,
        created_at=row.created_at,
        closed_at=row.closed_at,
        units=units,
        open_slots=max(0, units * row.overlap - facts.live.get(row.id, 0)),
        scored=sum(person.scored for person in people if not person.excluded),
        reviewers=tuple(people),
        result=Summary.model_validate(row.result) if row.result else None,
    )


def _is_blind(tx: Transaction, row: ReviewRow) -> bool:
    return row.status == ReviewStatus.OPEN and tx.actor.id == row.adjudicator and not tx.single_user


def _facts(tx: Transaction, rows: Sequence[ReviewRow]) -> _Facts:
    ids = [row.id for row in rows]
    runs = {each for row in rows for each in (row.evaluation_id, row.other_id) if each}
    query = select(EvaluationRow.id, EvaluationRow.model_id, EvaluationRow.dataset_id).where(EvaluationRow.id.in_(runs))
    evaluations = tx.session.execute(query).all()
    names = versions.named(tx, {each for row in evaluations for each in (row.model_id, row.dataset_id)})
    rubrics = select(ReviewRubricRow).where(ReviewRubricRow.digest.in_({row.rubric_digest for row in rows}))
    units = select(ReviewUnitRow.review_id, func.count()).where(ReviewUnitRow.review_id.in_(ids))
    given = ReviewAssignmentRow.review_id.in_(ids) & ReviewAssignmentRow.released_at.is_(None)
    live = select(ReviewAssignmentRow.review_id, func.count()).where(given)
    return _Facts(
        models={row.id: names[row.model_id] for row in evaluations},
        benchmarks={row.id: names[row.dataset_id] for row in evaluations},
        rubrics={each.digest: Rubric.model_validate(each.content) for each in tx.session.scalars(rubrics)},
        units=dict[UUID, int](tx.session.execute(units.group_by(ReviewUnitRow.review_id)).all()),
        live=dict[UUID, int](tx.session.execute(live.group_by(ReviewAssignmentRow.review_id)).all()),
        people=_progress(tx, ids),
    )


def _progress(tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, list[ReviewerProgress]]:
    score, given = ReviewScoreRow, ReviewAssignmentRow
    done = {
        (review, person): count
        for review, person, count in tx.session.execute(
            select(score.review_id, score.reviewer, func.count(score.number.distinct()))
            .where(score.review_id.in_(ids), score.adjudication.is_(False))
            .group_by(score.review_id, score.reviewer)
        )
    }
    excluded = select(ReviewExclusionRow.review_id, ReviewExclusionRow.reviewer)
    excluded = excluded.where(ReviewExclusionRow.review_id.in_(ids))
    out = {(review, person) for review, person in tx.session.execute(excluded)}
    live = func.count().filter(given.released_at.is_(None))
    query = select(given.review_id, given.reviewer, live).where(given.review_id.in_(ids))
    query = query.group_by(given.review_id, given.reviewer).order_by(given.reviewer)
    found: defaultdict[UUID, list[ReviewerProgress]] = defaultdict(list)
    for review, name, count in tx.session.execute(query):
        key = (review, name)
        found[review].append(
            ReviewerProgress(reviewer=name, assigned=count, scored=done.get(key, 0), excluded=key in out)
        )
    return found
