"""Adjudication: a named person who is none of the reviewers settles what these disagree about."""

from uuid import UUID

from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Forbidden
from llmops_resources.evaluation import review_conflicts, review_results, review_rubrics, review_tasks, reviews
from llmops_resources.evaluation.review_judgements import judgements
from llmops_resources.evaluation.review_results import Judgement
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.evaluation.review_tasks import Submission
from llmops_resources.evaluation.review_values import Review
from llmops_resources.evaluation.tables import ReviewAssignmentRow, ReviewRow
from llmops_resources.values import Value


class Opinion(Value):
    """What one reviewer said; `reviewer` is a number, since who said it settles nothing."""

    reviewer: int
    values: dict[str, int | str]
    reason: str


class Disagreement(Value):
    """A unit on which reviewers disagree, with its answers in the review's own order, and how it was settled."""

    number: int
    input: str
    expected: str | None
    answers: tuple[str, ...]
    digest: str
    opinions: tuple[Opinion, ...]
    revision: int
    settled: Opinion | None


def name(tx: Transaction, review_id: UUID | str, person: str) -> Review:
    """Name who adjudicates. Raises Forbidden for a reviewer or somebody with an interest, Conflict once it began."""
    row = reviews.load(tx, review_id, lock=True)
    reviews.check_not_blind(tx, row)
    reviews.check_open(row)
    if row.adjudicator == person:
        return reviews.value(tx, row)
    judges = select(ReviewAssignmentRow.number).filter_by(review_id=row.id, reviewer=person).limit(1)
    if tx.session.scalar(judges) is not None:
        raise Forbidden(f"{person} judges in this review", remedy="Name somebody who does not.")
    if any(judgement.adjudication for judgement in judgements(tx, row)):
        raise Conflict(f"{row.adjudicator} has begun to adjudicate", remedy="Let them finish.")
    waived = review_conflicts.check(tx, row, person)
    row.adjudicator = person
    tx.audit("review.adjudicator", "review", row.id, adjudicator=person, **({"waived": waived} if waived else {}))
    return reviews.value(tx, row)


def disagreements(tx: Transaction, review_id: UUID | str) -> list[Disagreement]:
    """What reviewers disagree about, the widest first. Raises Forbidden for the reviewers of an open review."""
    row = reviews.load(tx, review_id)
    reviews.check_not_blind(tx, row)
    rubric, said = review_rubrics.get(tx, row.rubric_digest).rubric, judgements(tx, row)
    votes = [judgement for judgement in said if not judgement.adjudication]
    numbers = {person: at for at, person in enumerate(sorted({vote.person for vote in votes}), start=1)}
    return [
        _disagreement(tx, row, rubric, unit, [each for each in said if each.unit == unit], numbers)
        for unit in review_results.disagreeing(rubric, votes)
    ]


def adjudicate(tx: Transaction, review_id: UUID | str, number: int, given: Submission) -> Disagreement:
    """Settle a disagreement, with a reason. Safe to repeat.

    Raises Forbidden for everybody but the adjudicator, Conflict where nobody disagrees or the judgement is stale.
    """
    row = reviews.load(tx, review_id, lock=True)
    if tx.actor.id != row.adjudicator:
        raise Forbidden(
            f"{row.adjudicator or 'nobody'} adjudicates this review", remedy="Have yourself named, or leave it to them."
        )
    review_conflicts.check(tx, row, tx.actor.id)
    rubric = review_rubrics.get(tx, row.rubric_digest).rubric
    votes = [judgement for judgement in judgements(tx, row) if not judgement.adjudication]
    if number not in review_results.disagreeing(rubric, votes):
        raise Conflict(f"the reviewers do not disagree about unit {number}", remedy="See the list of disagreements.")
    shown = review_tasks.shown_digest(row, review_tasks.unit(tx, row, number), swapped=False)
    kept = review_rubrics.numbers(rubric, given.values, swapped=False)
    review_tasks.add(tx, row, number, given, kept, shown=shown, reason_needed=True, adjudication=True)
    return next(each for each in disagreements(tx, review_id) if each.number == number)


def _disagreement(
    tx: Transaction, row: ReviewRow, rubric: Rubric, number: int, said: list[Judgement], numbers: dict[str, int]
) -> Disagreement:
    unit = review_tasks.unit(tx, row, number)

    def opinion(judgement: Judgement) -> Opinion:
        values = review_rubrics.as_shown(rubric, judgement.values, swapped=False)
        return Opinion(reviewer=numbers.get(judgement.person, 0), values=values, reason=judgement.reason)

    final = next((judgement for judgement in said if judgement.adjudication), None)
    return Disagreement(
        number=number,
        input=unit.content["input"],
        expected=unit.content["expected"],
        answers=tuple(unit.content["answers"]),
        digest=review_tasks.shown_digest(row, unit, swapped=False),
        opinions=tuple(opinion(judgement) for judgement in said if not judgement.adjudication),
        revision=review_tasks.revision_of(tx, row, number, row.adjudicator or ""),
        settled=opinion(final) if final else None,
    )
