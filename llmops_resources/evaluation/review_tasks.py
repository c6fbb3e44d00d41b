"""What a reviewer gets and gives: units in an order of their own, blind, and judgements that are only ever added.

A judgement names the digest of what was shown and the revision it follows. What was shown otherwise, or was judged
again meanwhile, is refused; the same judgement once more is the same judgement.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Forbidden, NotFound
from llmops_resources.evaluation import review_conflicts, review_results, review_rubrics, reviews
from llmops_resources.evaluation.review_judgements import judgements
from llmops_resources.evaluation.review_results import Summary
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.evaluation.review_values import ReviewStatus
from llmops_resources.evaluation.tables import (
    ReviewAssignmentRow,
    ReviewExclusionRow,
    ReviewRow,
    ReviewScoreRow,
    ReviewUnitRow,
)
from llmops_resources.values import Value, sha256_of

#: How many units somebody gets who joins by role; they may join again when these are done.
BATCH = 20


class MyReview(Value):
    """A review as its reviewers see it."""

    id: UUID
    rubric: Rubric
    status: ReviewStatus
    total: int
    done: int
    may_join: bool


class Task(Value):
    """One unit to judge: place `place` of `total` in the reviewer's own order, both from 1.

    `digest` names what is shown here; `revision` how often the reviewer has judged it, with what they said last.
    """

    review_id: UUID
    number: int
    place: int
    total: int
    done: int
    rubric: Rubric
    input: str
    expected: str | None
    answers: tuple[str, ...]
    digest: str
    revision: int
    values: dict[str, int | str] | None
    reason: str
    closed: bool


class Submission(Value):
    """A judgement of what `shown` names, after `revision` earlier ones; correcting one takes a reason."""

    values: dict[str, Any]
    reason: str = ""
    shown: str
    revision: int


def mine(tx: Transaction) -> list[MyReview]:
    """The reviews in which the caller judges, or may join by their role; the newest first."""
    assigned = select(ReviewAssignmentRow.review_id).filter_by(reviewer=tx.actor.id, released_at=None)
    open_ones = (ReviewRow.status == ReviewStatus.OPEN) | ReviewRow.id.in_(assigned)
    found = []
    for row in tx.session.scalars(select(ReviewRow).where(open_ones).order_by(ReviewRow.created_at.desc())):
        numbers = [assignment.number for assignment in _assignments(tx, row)]
        may_join = row.status == ReviewStatus.OPEN and _may_join(tx, row)
        if numbers or may_join:
            done = len(set(numbers) & set(_latest(tx, row, tx.actor.id)))
            rubric = review_rubrics.get(tx, row.rubric_digest).rubric
            status = ReviewStatus(row.status)
            found.append(
                MyReview(id=row.id, rubric=rubric, status=status, total=len(numbers), done=done, may_join=may_join)
            )
    return found


def join(tx: Transaction, review_id: UUID | str) -> int:
    """Take the next units of a review that is open to one's role; how many there were.

    Nobody who still has units gets more. Raises Forbidden for whoever may not judge in it.
    """
    row = reviews.load(tx, review_id, lock=True)
    reviews.check_open(row)
    if not tx.actor.roles & set(row.roles):
        wanted = ", ".join(row.roles) or "only the people named for it"
        raise Forbidden(f"this review is for: {wanted}", remedy="Ask whoever opened it to assign you.")
    reviews.check_no_adjudicator(row, tx.actor.id)
    reviews.check_not_excluded(tx, row, tx.actor.id)
    waived = review_conflicts.check(tx, row, tx.actor.id)
    judged = _latest(tx, row, tx.actor.id)
    if any(assignment.number not in judged for assignment in _assignments(tx, row)):
        return 0
    given = reviews.fill(tx, row, tx.actor.id, most=BATCH)
    if given:
        tx.audit("review.join", "review", row.id, units=given, **({"waived": waived} if waived else {}))
    return given


def task(tx: Transaction, review_id: UUID | str, place: int | None = None) -> Task:
    """The unit at a place of the caller's order, from 1; without one the first that is not judged, else the last.

    Raises NotFound, or Forbidden for whoever does not judge in the review.
    """
    row = reviews.load(tx, review_id)
    assignments = _assignments(tx, row)
    if not assignments:
        raise Forbidden("you do not judge in this review", remedy="Join it, or ask whoever opened it to assign you.")
    latest = _latest(tx, row, tx.actor.id)
    if place is None:
        waiting = (at for at, it in enumerate(assignments, start=1) if it.number not in latest)
        place = next(waiting, len(assignments))
    if not 1 <= place <= len(assignments):
        raise NotFound(f"there is no unit {place}", remedy=f"Choose one from 1 to {len(assignments)}.")
    done = sum(assignment.number in latest for assignment in assignments)
    return _task(tx, row, assignments[place - 1], latest, place=place, total=len(assignments), done=done)


def score(tx: Transaction, review_id: UUID | str, number: int, given: Submission) -> Task:
    """Add a judgement of one of the caller's units. Safe to repeat.

    Raises Conflict when the review is closed or the judgement is stale, Forbidden when the unit is not the caller's or
    they have an interest in the outcome, ValidationFailed when it does not fit the rubric or lacks its reason.
    """
    row = reviews.load(tx, review_id, lock=True)
    reviews.check_not_excluded(tx, row, tx.actor.id)
    assignments = _assignments(tx, row)
    place = next((at for at, it in enumerate(assignments, start=1) if it.number == number), None)
    if place is None:
        raise Forbidden("this unit is not yours to judge", remedy="Ask for your next unit.")
    review_conflicts.check(tx, row, tx.actor.id)
    assignment, rubric = assignments[place - 1], review_rubrics.get(tx, row.rubric_digest).rubric
    shown = shown_digest(row, unit(tx, row, number), swapped=assignment.swapped)
    kept = review_rubrics.numbers(rubric, given.values, swapped=assignment.swapped)
    add(tx, row, number, given, kept, shown=shown, reason_needed=rubric.reason_required, adjudication=False)
    return task(tx, review_id, place)


def add(
    tx: Transaction, row: ReviewRow, number: int, given: Submission, kept: dict[str, float], *, shown: str,
    reason_needed: bool, adjudication: bool,
) -> None:  # fmt: skip
    """Add the caller's next judgement of a unit; the review must be locked. The same once more adds nothing."""
    last = _latest(tx, row, tx.actor.id).get(number)
    revision = last.revision if last else 0
    same = last is not None and (last.values, last.reason, last.shown_digest) == (kept, given.reason, given.shown)
    if same and given.revision in {revision, revision - 1}:
        return
    reviews.check_open(row)
    if given.shown != shown or given.revision != revision:
        raise Conflict(
            "this is not the judgement's last state: you judged it again elsewhere, or something else was shown",
            remedy="Reload the unit and judge what you see.",
        )
    if revision > 0 or reason_needed:
        reviews.check_reason(given.reason)
    tx.session.add(
        ReviewScoreRow(
            review_id=row.id, number=number, reviewer=tx.actor.id, revision=revision + 1, adjudication=adjudication,
            values=kept, reason=given.reason, shown_digest=shown,
        )
    )  # fmt: skip
    tx.session.flush()
    action = "review.adjudicate" if adjudication else "review.score"
    tx.audit(action, "review", row.id, unit=number, revision=revision + 1, values=kept, shown=shown)


def summary(tx: Transaction, review_id: UUID | str) -> Summary:
    """Where a review stands now; what it ended with once it is closed. Raises Forbidden for its reviewers."""
    row = reviews.load(tx, review_id)
    reviews.check_not_blind(tx, row)
    if row.result is not None:
        return Summary.model_validate(row.result)
    rubric = review_rubrics.get(tx, row.rubric_digest).rubric
    units = len(tx.session.scalars(select(ReviewUnitRow.number).filter_by(review_id=row.id)).all())
    return review_results.summarise(rubric, units, row.overlap, judgements(tx, row))


def revision_of(tx: Transaction, row: ReviewRow, number: int, person: str) -> int:
    """How often a person has judged a unit."""
    last = _latest(tx, row, person).get(number)
    return last.revision if last else 0


def unit(tx: Transaction, row: ReviewRow, number: int) -> ReviewUnitRow:
    """Raises NotFound."""
    found = tx.session.get(ReviewUnitRow, (row.id, number))
    if found is None:
        raise NotFound(f"the review has no unit {number}", remedy="See its units.")
    return found


def shown_digest(row: ReviewRow, what: ReviewUnitRow, *, swapped: bool) -> str:
    """`sha256:<hex>` of a unit as it is shown, under its rubric."""
    return sha256_of([str(row.id), what.number, row.rubric_digest, what.content, swapped])


def _task(
    tx: Transaction, row: ReviewRow, assignment: ReviewAssignmentRow, latest: dict[int, ReviewScoreRow], *, place: int,
    total: int, done: int,
) -> Task:  # fmt: skip
    what, said = unit(tx, row, assignment.number), latest.get(assignment.number)
    rubric, swapped = review_rubrics.get(tx, row.rubric_digest).rubric, assignment.swapped
    return Task(
        review_id=row.id,
        number=what.number,
        place=place,
        total=total,
        done=done,
        rubric=rubric,
        input=what.content["input"],
        expected=what.content["expected"],
        answers=tuple(what.content["answers"][:: -1 if swapped else 1]),
        digest=shown_digest(row, what, swapped=swapped),
        revision=said.revision if said else 0,
        values=review_rubrics.as_shown(rubric, said.values, swapped=swapped) if said else None,
        reason=said.reason if said else "",
        closed=row.status == ReviewStatus.CLOSED,
    )


def _assignments(tx: Transaction, row: ReviewRow) -> list[ReviewAssignmentRow]:
    query = select(ReviewAssignmentRow).filter_by(review_id=row.id, reviewer=tx.actor.id, released_at=None)
    return list(tx.session.scalars(query.order_by(ReviewAssignmentRow.place)))


def _latest(tx: Transaction, row: ReviewRow, person: str) -> dict[int, ReviewScoreRow]:
    query = select(ReviewScoreRow).filter_by(review_id=row.id, reviewer=person).order_by(ReviewScoreRow.revision)
    return {score.number: score for score in tx.session.scalars(query)}


def _may_join(tx: Transaction, row: ReviewRow) -> bool:
    if not tx.actor.roles & set(row.roles) or tx.actor.id == row.adjudicator:
        return False
    if tx.session.get(ReviewExclusionRow, (row.id, tx.actor.id)) is not None:
        return False
    try:
        review_conflicts.check(tx, row, tx.actor.id)
    except Forbidden:
        return False
    return reviews.has_room(tx, row, tx.actor.id)
