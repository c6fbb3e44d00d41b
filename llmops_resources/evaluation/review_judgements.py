"""What people have said in a review, as it counts."""

from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.evaluation.review_results import Judgement
from llmops_resources.evaluation.tables import ReviewAssignmentRow, ReviewExclusionRow, ReviewRow, ReviewScoreRow


def judgements(tx: Transaction, row: ReviewRow) -> list[Judgement]:
    """What counts: of everybody who was not excluded, the last judgement of each unit."""
    swapped = {
        (each.number, each.reviewer): each.swapped
        for each in tx.session.scalars(select(ReviewAssignmentRow).filter_by(review_id=row.id))
    }
    excluded = select(ReviewExclusionRow.reviewer).filter_by(review_id=row.id)
    query = select(ReviewScoreRow).filter_by(review_id=row.id).where(ReviewScoreRow.reviewer.not_in(excluded))
    last = {(each.number, each.reviewer): each for each in tx.session.scalars(query.order_by(ReviewScoreRow.revision))}
    return [
        Judgement(
            unit=number, person=person, values=each.values, reason=each.reason, at=each.scored_at,
            adjudication=each.adjudication, swapped=swapped.get((number, person), False),
        )
        for (number, person), each in sorted(last.items())
    ]  # fmt: skip
