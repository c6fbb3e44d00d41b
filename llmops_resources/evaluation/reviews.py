"""Reviews by people: opened over an evaluation's answers, given to reviewers, adjudicated, closed with a result.

Reviewers are blind: what they get (`review_tasks`) names no model, no evaluation and no other reviewer's judgement, and
while a review is open nobody who judges in it may read it here. Units are frozen when the review is opened.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Text, func, select
from sqlalchemy.dialects.postgresql import array

from llmops_resources import pages
from llmops_resources.catalog import evidence
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Forbidden, NotFound, ValidationFailed, field_problem
from llmops_resources.evaluation import (
    gate_staleness,
    review_conflicts,
    review_opening,
    review_plan,
    review_rubrics,
    review_runs,
    review_values,
    runs,
)
from llmops_resources.evaluation.review_opening import ReviewPlan
from llmops_resources.evaluation.review_results import Summary
from llmops_resources.evaluation.review_values import Review, ReviewStatus
from llmops_resources.evaluation.tables import (
    EvaluationRow,
    ReviewAssignmentRow,
    ReviewExclusionRow,
    ReviewRow,
    ReviewScoreRow,
    ReviewUnitRow,
)
from llmops_resources.pages import Page, Position
from llmops_resources.values import sha256_of, utc_now


def open_review(tx: Transaction, evaluation_id: UUID | str, plan: ReviewPlan) -> Review:
    """Open a review and give the named people their units.

    Raises NotFound, Conflict when there are no answers to judge, Forbidden when a named person has an interest in the
    outcome, ValidationFailed when the plan cannot be carried out.
    """
    rubric = review_rubrics.get(tx, plan.rubric).rubric
    evaluation = runs.get(tx, evaluation_id)
    other = runs.get(tx, plan.other_evaluation_id) if plan.other_evaluation_id else None
    review_opening.check(plan, rubric, evaluation, other)
    units = review_opening.units(plan, evaluation, other)
    row = ReviewRow(
        evaluation_id=evaluation.id,
        other_id=other.id if other else None,
        rubric_digest=plan.rubric,
        overlap=plan.overlap,
        seed=plan.seed,
        roles=list(plan.roles),
        show_expected=plan.show_expected,
        adjudicator=plan.adjudicator,
        status=ReviewStatus.OPEN,
        created_by=tx.actor.id,
    )
    tx.session.add(row)
    tx.session.flush()
    waived = [review_conflicts.check(tx, row, person) for person in (*plan.reviewers, plan.adjudicator) if person]
    tx.session.add_all(
        ReviewUnitRow(review_id=row.id, number=number, sample=sample, content=content)
        for number, (sample, content) in enumerate(units)
    )
    tx.session.flush()
    _deal(tx, row, range(len(units)), plan.reviewers)
    tx.audit(
        "review.open", "review", row.id, evaluation=str(evaluation.id), rubric=plan.rubric, units=len(units),
        content=sha256_of([content for _, content in units]), reviewers=list(plan.reviewers), roles=list(plan.roles),
        **({"waived": list(filter(None, waived))} if any(waived) else {}),
    )  # fmt: skip
    review_runs.begin(tx, row, evaluation)
    return value(tx, row)


def get(tx: Transaction, review_id: UUID | str) -> Review:
    """One review. Raises NotFound, or Forbidden for whoever judges in it while it is open."""
    row = load(tx, review_id)
    check_not_blind(tx, row)
    return value(tx, row)


def search(
    tx: Transaction, *, evaluation_id: UUID | None = None, after: Position | None = None, limit: int = 50
) -> Page[Review]:
    """Reviews, newest first, without the open ones in which the caller judges."""
    query = select(ReviewRow)
    if evaluation_id is not None:
        query = query.where((ReviewRow.evaluation_id == evaluation_id) | (ReviewRow.other_id == evaluation_id))
    if not tx.single_user:
        judged = select(ReviewAssignmentRow.review_id).where(ReviewAssignmentRow.reviewer == tx.actor.id)
        open_to_them = ReviewRow.roles.op("?|")(array(sorted(tx.actor.roles), type_=Text))
        theirs = (ReviewRow.created_by == tx.actor.id) | (ReviewRow.adjudicator == tx.actor.id)
        blind = ReviewRow.id.in_(judged) | open_to_them
        query = query.where((ReviewRow.status == ReviewStatus.CLOSED) | theirs | ~blind)
    order = (ReviewRow.created_at, ReviewRow.id)
    page: Page[ReviewRow] = pages.fetch(tx, query, order, after=after, limit=limit, value=lambda row: row)
    return Page(review_values.values(tx, page.items), page.total, page.next)


def assign(tx: Transaction, review_id: UUID | str, reviewer: str) -> Review:
    """Give a person the open slots, up to one a unit. Giving them again changes nothing."""
    row = load(tx, review_id, lock=True)
    check_not_blind(tx, row)
    check_open(row)
    check_no_adjudicator(row, reviewer)
    check_not_excluded(tx, row, reviewer)
    waived = review_conflicts.check(tx, row, reviewer)
    given = fill(tx, row, reviewer)
    more = {"waived": waived} if waived else {}
    tx.audit("review.assign", "review", row.id, reviewer=reviewer, units=given, **more)
    return value(tx, row)


def release(tx: Transaction, review_id: UUID | str, reviewer: str, reason: str) -> Review:
    """Take back what a person has not judged, so that others can."""
    row = load(tx, review_id, lock=True)
    check_not_blind(tx, row)
    check_open(row)
    check_reason(reason)
    scored = select(ReviewScoreRow.number).filter_by(review_id=row.id, reviewer=reviewer)
    query = select(ReviewAssignmentRow).filter_by(review_id=row.id, reviewer=reviewer, released_at=None)
    left = tx.session.scalars(query.where(ReviewAssignmentRow.number.not_in(scored))).all()
    for assignment in left:
        assignment.released_at = utc_now()
    tx.audit("review.release", "review", row.id, reviewer=reviewer, units=len(left), reason=reason)
    return value(tx, row)


def exclude(tx: Transaction, review_id: UUID | str, reviewer: str, reason: str) -> Review:
    """Leave a person's judgements out, all of them; they are kept, and their units need somebody else."""
    row = load(tx, review_id, lock=True)
    check_not_blind(tx, row)
    check_open(row)
    check_reason(reason)
    assignments = tx.session.scalars(select(ReviewAssignmentRow).filter_by(review_id=row.id, reviewer=reviewer)).all()
    if not assignments:
        raise NotFound(f"{reviewer[:100]} does not judge in this review", remedy="See its reviewers.")
    if tx.session.get(ReviewExclusionRow, (row.id, reviewer)) is None:
        tx.session.add(
            ReviewExclusionRow(review_id=row.id, reviewer=reviewer, reason=reason, excluded_by=tx.actor.id)
        )
        for assignment in assignments:
            assignment.released_at = assignment.released_at or utc_now()
        tx.session.flush()
        tx.audit("review.exclude", "review", row.id, reviewer=reviewer, reason=reason)
    return value(tx, row)


def close(tx: Transaction, review_id: UUID | str, summary: Summary, reason: str = "") -> Review:
    """End a review: its result becomes evidence on the model, and judges who disagree with it lose their licence.

    Closing a closed one changes nothing.

    Raises Conflict while judgements are missing or disagreements unresolved, unless a reason is given.
    """
    row = load(tx, review_id, lock=True)
    check_not_blind(tx, row)
    if row.status == ReviewStatus.CLOSED:
        return value(tx, row)
    missing = summary.slots - summary.judged
    if (missing or summary.unresolved) and not reason.strip():
        raise Conflict(
            f"{missing} judgements are missing and {summary.unresolved} disagreements are not resolved",
            remedy="Wait for them, adjudicate, or say why the review ends now.",
        )
    row.status, row.closed_at, row.result = ReviewStatus.CLOSED, utc_now(), summary.json_dict()
    for evaluation_id in filter(None, (row.evaluation_id, row.other_id)):
        evaluation = tx.session.get_one(EvaluationRow, evaluation_id)
        shown = {"review": str(row.id), "rubric": row.rubric_digest, "human": row.result}
        evidence.attach(
            tx, evaluation.model_id, EvidenceKind.EVALUATION, digest=evaluation.model_digest, source_id=row.id,
            passed=None, summary={**shown, "evaluation": str(evaluation_id), "benchmark": str(evaluation.dataset_id)},
        )  # fmt: skip
    rubric = review_rubrics.get(tx, row.rubric_digest).rubric
    review_runs.finish(tx, row, rubric, summary)
    gate_staleness.lock(tx, benchmark := runs.get(tx, row.evaluation_id).dataset_name, row.rubric_digest)
    gate_staleness.examine(tx, benchmark, rubric)
    tx.audit("review.close", "review", row.id, reason=reason, judged=summary.judged, slots=summary.slots)
    return value(tx, row)


def load(tx: Transaction, review_id: UUID | str, *, lock: bool = False) -> ReviewRow:
    """The row; `lock` until the transaction ends. Raises NotFound."""
    row = tx.session.get(ReviewRow, UUID(str(review_id)), with_for_update=lock or None)
    if row is None:
        raise NotFound(f"there is no review {review_id}", remedy="See the list of reviews.")
    return row


def check_open(row: ReviewRow) -> None:
    """Raises Conflict."""
    if row.status != ReviewStatus.OPEN:
        raise Conflict("the review is closed", remedy="Open another one over the same evaluation.")


def check_not_blind(tx: Transaction, row: ReviewRow) -> None:
    """Raises Forbidden for whoever judges, or could by their role, in an open review that they did not set up."""
    if row.status == ReviewStatus.CLOSED or tx.single_user or tx.actor.id in {row.created_by, row.adjudicator}:
        return
    judges = select(ReviewAssignmentRow.number).filter_by(review_id=row.id, reviewer=tx.actor.id).limit(1)
    if tx.session.scalar(judges) is not None or tx.actor.roles & set(row.roles):
        raise Forbidden(
            "whoever judges in a review does not see whose answers they are, nor what others said",
            remedy="Read it when it is closed.",
        )


def fill(tx: Transaction, row: ReviewRow, reviewer: str, most: int | None = None) -> int:
    """Give a person open slots, those units first that nobody judges; how many there were. The row must be locked."""
    taken, theirs, free = _slots(tx, row, reviewer)
    order = review_plan.shuffled(row.seed, reviewer, free)
    chosen = sorted(order, key=lambda unit: taken.get(unit, 0))[:most]
    _give(tx, row, reviewer, {unit: taken.get(unit, 0) for unit in order if unit in set(chosen)}, theirs)
    return len(chosen)


def has_room(tx: Transaction, row: ReviewRow, reviewer: str) -> bool:
    """Whether there is an open slot for a person."""
    return bool(_slots(tx, row, reviewer)[2])


def value(tx: Transaction, row: ReviewRow) -> Review:
    """The public value of a row."""
    return review_values.values(tx, [row])[0]


def _slots(tx: Transaction, row: ReviewRow, reviewer: str) -> tuple[dict[int, int], int, list[int]]:
    """How many judge each unit, how many units the person was ever given, and those they could get."""
    taken = dict[int, int](
        tx.session.execute(
            select(ReviewAssignmentRow.number, func.count())
            .filter_by(review_id=row.id, released_at=None)
            .group_by(ReviewAssignmentRow.number)
        ).all()
    )
    theirs = set(
        tx.session.scalars(select(ReviewAssignmentRow.number).filter_by(review_id=row.id, reviewer=reviewer))
    )
    free = [unit for unit in _numbers(tx, row) if taken.get(unit, 0) < row.overlap and unit not in theirs]
    return taken, len(theirs), free


def _deal(tx: Transaction, row: ReviewRow, units: Sequence[int], people: Sequence[str]) -> None:
    slots: dict[str, dict[int, int]] = {person: {} for person in people}
    for unit, dealt in review_plan.deal(units, people, row.overlap, row.seed).items():
        for slot, person in enumerate(dealt):
            slots[person][unit] = slot
    for person, theirs in slots.items():
        order = review_plan.shuffled(row.seed, person, list(theirs))
        _give(tx, row, person, {unit: theirs[unit] for unit in order}, 0)


def _give(tx: Transaction, row: ReviewRow, person: str, slots: dict[int, int], first: int) -> None:
    """Units with the slot each is in, in the person's order, from place `first` on."""
    tx.session.add_all(
        ReviewAssignmentRow(
            review_id=row.id, number=unit, reviewer=person, place=place,
            swapped=row.other_id is not None and review_plan.is_swapped(row.seed, unit, slot),
        )
        for place, (unit, slot) in enumerate(slots.items(), start=first)
    )  # fmt: skip
    tx.session.flush()


def _numbers(tx: Transaction, row: ReviewRow) -> list[int]:
    query = select(ReviewUnitRow.number).filter_by(review_id=row.id).order_by(ReviewUnitRow.number)
    return list(tx.session.scalars(query))


def check_reason(reason: str) -> None:
    """Raises ValidationFailed for an empty one."""
    if not reason.strip():
        raise ValidationFailed(
            "a reason is missing", details=[field_problem("reason", "is empty", "Say why; the audit log keeps it.")]
        )


def check_no_adjudicator(row: ReviewRow, person: str) -> None:
    """Raises Forbidden."""
    if person == row.adjudicator:
        raise Forbidden("whoever adjudicates does not judge", remedy="Ask somebody else.")


def check_not_excluded(tx: Transaction, row: ReviewRow, person: str) -> None:
    """Raises Forbidden."""
    if tx.session.get(ReviewExclusionRow, (row.id, person)) is not None:
        raise Forbidden(f"{person} was excluded from this review", remedy="Ask somebody else.")
