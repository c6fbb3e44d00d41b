"""Judgements handed in by the evaluation they are of: many at once, in the review that is open over it."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import Field
from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, FieldProblem, Forbidden, ValidationFailed, field_problem
from llmops_resources.evaluation import review_rubrics, review_tasks, reviews
from llmops_resources.evaluation.review_tasks import Submission
from llmops_resources.evaluation.review_values import ReviewStatus
from llmops_resources.evaluation.tables import ReviewAssignmentRow, ReviewRow, ReviewUnitRow
from llmops_resources.values import Value


class Rating(Value):
    """What somebody says of one sample; of two answers, `first` is the reviewed run's, wherever it was shown."""

    sample: int = Field(ge=0)
    values: dict[str, int | str]
    comment: str = ""


class Submitted(Value):
    """The review the ratings went into, and how many of the caller's units are judged now."""

    review_id: UUID
    judged: int
    assigned: int


def submit(tx: Transaction, run_id: UUID, ratings: Sequence[Rating], review_id: UUID | None = None) -> Submitted:
    """Hand in judgements of an evaluation's samples, all or none; the same again change nothing.

    Raises:
        Conflict: no review of the evaluation is open.
        Forbidden: the caller does not judge in it, or has an interest in the outcome.
        ValidationFailed: several reviews are open and none is named, or with every rating that is wrong.
    """
    review = _open(tx, run_id, review_id)
    mine = _mine(tx, review)
    if not mine and tx.actor.roles & set(review.roles):
        review_tasks.join(tx, review.id)
        mine = _mine(tx, review)
    if not mine:
        raise Forbidden("you do not judge in this review", remedy="Ask whoever opened it to assign you.")
    problems: list[FieldProblem] = []
    for at, rating in enumerate(ratings):
        assignment = mine.get(rating.sample)
        if assignment is None:
            what = f"sample {rating.sample} is not yours to judge"
            problems.append(field_problem(f"ratings.{at}.sample", what, f"Yours are {_some(mine)}."))
            continue
        problems += _add(tx, review, assignment, rating, at)
    if problems:
        raise ValidationFailed("no rating was taken", details=problems)
    tx.session.flush()
    progress = next(each for each in reviews.value(tx, review).reviewers if each.reviewer == tx.actor.id)
    return Submitted(review_id=review.id, judged=progress.scored, assigned=progress.assigned)


def _add(
    tx: Transaction, review: ReviewRow, assignment: ReviewAssignmentRow, rating: Rating, at: int
) -> list[FieldProblem]:
    rubric = review_rubrics.get(tx, review.rubric_digest).rubric
    number, swapped = assignment.number, assignment.swapped
    try:
        kept = review_rubrics.numbers(rubric, dict(rating.values), swapped=False)
        given = Submission(
            values=dict(review_rubrics.as_shown(rubric, kept, swapped=swapped)),
            reason=rating.comment,
            shown=review_tasks.shown_digest(review, review_tasks.unit(tx, review, number), swapped=swapped),
            revision=review_tasks.revision_of(tx, review, number, tx.actor.id),
        )
        review_tasks.score(tx, review.id, number, given)
    except ValidationFailed as error:
        return [{**problem, "path": f"ratings.{at}.{problem['path']}"} for problem in error.details]
    return []


def _open(tx: Transaction, run_id: UUID, review_id: UUID | None) -> ReviewRow:
    over = (ReviewRow.evaluation_id == run_id) | (ReviewRow.other_id == run_id)
    query = select(ReviewRow).where(over, ReviewRow.status == ReviewStatus.OPEN)
    found = [row for row in tx.session.scalars(query) if review_id in {None, row.id}]
    if not found:
        raise Conflict("no such review of this evaluation is open", remedy="Open a review of it first.")
    if len(found) > 1:
        ask = f"Name one of {', '.join(str(row.id) for row in found)}."
        problem = field_problem("reviewId", "is needed, since several reviews are open", ask)
        raise ValidationFailed("it is not said which review the ratings are for", details=[problem])
    return found[0]


def _mine(tx: Transaction, review: ReviewRow) -> dict[int, ReviewAssignmentRow]:
    """The caller's assignments by sample."""
    query = (
        select(ReviewUnitRow.sample, ReviewAssignmentRow)
        .join_from(
            ReviewAssignmentRow,
            ReviewUnitRow,
            (ReviewUnitRow.review_id == ReviewAssignmentRow.review_id)
            & (ReviewUnitRow.number == ReviewAssignmentRow.number),
        )
        .where(
            ReviewAssignmentRow.review_id == review.id,
            ReviewAssignmentRow.reviewer == tx.actor.id,
            ReviewAssignmentRow.released_at.is_(None),
        )
    )
    return dict[int, ReviewAssignmentRow](tx.session.execute(query).all())


def _some(mine: dict[int, ReviewAssignmentRow]) -> str:
    first = sorted(mine)[:20]
    return ", ".join(map(str, first)) + (", …" if len(mine) > len(first) else "")
