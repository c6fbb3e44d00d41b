"""All that people have said in a review, to be taken elsewhere."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.evaluation import reviews
from llmops_resources.evaluation.tables import ReviewExclusionRow, ReviewScoreRow, ReviewUnitRow
from llmops_resources.values import Value


class Said(Value):
    """One judgement as it was given, with what it is about. `counts`: nothing later replaced it, nobody excluded it."""

    unit: int
    sample: int
    input: Any
    expected: str | None
    answers: tuple[str | None, ...]
    reviewer: str
    revision: int
    adjudication: bool
    values: dict[str, float]
    reason: str
    at: datetime
    counts: bool


def everything(tx: Transaction, review_id: UUID | str) -> list[Said]:
    """All judgements of a review, replaced and excluded ones too, by unit, person and revision.

    Raises NotFound, and Forbidden for whoever judges while the review is open.
    """
    row = reviews.load(tx, review_id)
    reviews.check_not_blind(tx, row)
    excluded = set(tx.session.scalars(select(ReviewExclusionRow.reviewer).filter_by(review_id=row.id)))
    units = {each.number: each for each in tx.session.scalars(select(ReviewUnitRow).filter_by(review_id=row.id))}
    order = (ReviewScoreRow.number, ReviewScoreRow.reviewer, ReviewScoreRow.revision)
    scores = list(tx.session.scalars(select(ReviewScoreRow).filter_by(review_id=row.id).order_by(*order)))
    newest = {(each.number, each.reviewer): each.revision for each in scores}
    return [
        Said(
            unit=each.number, sample=units[each.number].sample, input=units[each.number].content["input"],
            expected=units[each.number].content["expected"], answers=units[each.number].content["answers"],
            reviewer=each.reviewer, revision=each.revision, adjudication=each.adjudication, values=each.values,
            reason=each.reason, at=each.scored_at,
            counts=each.reviewer not in excluded and newest[each.number, each.reviewer] == each.revision,
        )
        for each in scores
    ]  # fmt: skip
