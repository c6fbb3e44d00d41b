"""A review as an evaluation of its own: a run of people that is under way until the review is closed.

No process works on it, so nothing ever launches, retries or gives it up; closing the review gives it its result.
"""

from uuid import UUID

from sqlalchemy import select

from llmops_resources import work
from llmops_resources.database import Transaction
from llmops_resources.evaluation import review_results, runs
from llmops_resources.evaluation.review_judgements import judgements
from llmops_resources.evaluation.review_results import Summary
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.evaluation.runs import Counts, Evaluation, Result, RunType, Sample
from llmops_resources.evaluation.scores import Score
from llmops_resources.evaluation.tables import EvaluationRow, ReviewRow, ReviewUnitRow
from llmops_resources.values import Value


class HumanJudging(Value):
    """What the row of a run of people holds."""

    review_id: UUID
    other_id: UUID | None
    rubric_digest: str


def begin(tx: Transaction, review: ReviewRow, run: Evaluation) -> None:
    """Add the run of a review that was just opened over `run`."""
    judging = HumanJudging(review_id=review.id, other_id=review.other_id, rubric_digest=review.rubric_digest)
    made = runs.request_judged(tx, run, RunType.HUMAN, judging.json_dict())
    row = work.load(tx, EvaluationRow, made.id, "evaluation")
    work.claim(row, attempt=1, run_id=_by(review))
    row.progress_message = "people judge"


def finish(tx: Transaction, review: ReviewRow, rubric: Rubric, summary: Summary) -> None:
    """Give the run its result. A review from before reviews had runs has none, and nothing happens."""
    row = tx.session.scalar(
        select(EvaluationRow).filter_by(judged_id=review.evaluation_id, run_id=_by(review)).with_for_update()
    )
    if row is None:
        return
    work.succeed(row, run_id=_by(review))
    row.result = _result(tx, review, rubric, summary).json_dict()


def _result(tx: Transaction, review: ReviewRow, rubric: Rubric, summary: Summary) -> Result:
    said = judgements(tx, review)
    units = tx.session.scalars(select(ReviewUnitRow).filter_by(review_id=review.id).order_by(ReviewUnitRow.number))
    samples = []
    for unit in units:
        given = [judgement for judgement in said if judgement.unit == unit.number]
        settled = {criterion.name: review_results.settled(criterion, given) for criterion in rubric.criteria}
        samples.append(
            Sample(
                index=unit.sample,
                input=unit.content["input"],
                expected=unit.content["expected"] or "",
                actual=unit.content["answers"][0],
                scores={name: value for name, value in settled.items() if value is not None},
            )
        )
    scored = sum(bool(sample.scores) for sample in samples)
    return Result(
        metrics={c.criterion: Score(**c.estimate.json_dict()) for c in summary.criteria if c.estimate is not None},
        protocol={"asked": "people", "rubric": review.rubric_digest, "overlap": review.overlap, "seed": review.seed},
        samples=tuple(samples),
        counts=Counts(total=len(samples), scored=scored, unscored=len(samples) - scored),
        reviewed=summary.model_copy(update={"warnings": ()}),  # those name people, which are for who runs the review
    )


def _by(review: ReviewRow) -> str:
    return f"review:{review.id}"
