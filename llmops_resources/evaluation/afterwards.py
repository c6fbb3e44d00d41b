"""Who judges an evaluation's answers when they are there: people, models, or both, said when it is requested.

The review and the judging begin once, as whoever requested the evaluation would begin them. One that cannot begin any
more, since a judge lost its approval meanwhile, says so on the evaluation; the figures of the scorers stay.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self
from uuid import UUID

from pydantic import model_validator
from sqlalchemy import select

from llmops_resources import work
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import PlatformError
from llmops_resources.evaluation import judge_runs, review_opening, review_rubrics, reviews, runs
from llmops_resources.evaluation.judge_suite import JudgeSuite
from llmops_resources.evaluation.review_opening import ReviewPlan
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.evaluation.tables import EvaluationRow
from llmops_resources.values import Value, utc_now
from llmops_resources.work import WorkStatus


class Afterwards(Value):
    """At least one of them; `problems` say why one did not begin."""

    review: ReviewPlan | None = None
    judging: JudgeSuite | None = None
    problems: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _somebody_judges(self) -> Self:
        if self.review is None and self.judging is None:
            raise ValueError("nobody judges")
        return self


def plan(tx: Transaction, evaluation: Evaluation, wanted: Afterwards) -> Evaluation:
    """Keep who judges an evaluation that was just requested.

    Raises NotFound for a rubric that is not there, and ValidationFailed for a review that cannot be done or a judge
    that cannot judge here.
    """
    if wanted.review is not None:
        review_opening.check(wanted.review, review_rubrics.get(tx, wanted.review.rubric).rubric, evaluation, None)
    if wanted.judging is not None:
        judge_runs.fitting(tx, wanted.judging, [evaluation])
    row = work.load(tx, EvaluationRow, evaluation.id, "evaluation")
    row.afterwards = wanted.json_dict()
    tx.audit("evaluation.plan", "evaluation", row.id, review=bool(wanted.review), judging=bool(wanted.judging))
    tx.session.flush()
    return runs.value(tx, row)


def due(tx: Transaction, *, limit: int = 20) -> Sequence[tuple[UUID, Actor]]:
    """Finished evaluations that somebody is to judge, the oldest first, and who asked for it."""
    query = select(EvaluationRow.id, EvaluationRow.requested_by).where(
        EvaluationRow.afterwards.is_not(None),
        EvaluationRow.judged_afterwards_at.is_(None),
        EvaluationRow.status == WorkStatus.SUCCEEDED,
    )
    rows = tx.session.execute(query.order_by(EvaluationRow.finished_at).limit(limit))
    return [(run_id, Actor(requested_by)) for run_id, requested_by in rows]


def begin(tx: Transaction, evaluation_id: UUID) -> Evaluation:
    """Open the review and request the judging of a finished evaluation, unless that was done before."""
    row = work.load(tx, EvaluationRow, evaluation_id, "evaluation")
    if row.afterwards is None or row.judged_afterwards_at is not None or row.status != WorkStatus.SUCCEEDED:
        return runs.value(tx, row)
    wanted = Afterwards.model_validate(row.afterwards)
    problems = []
    if (review := wanted.review) is not None:
        problems += _tried(tx, "the review", lambda: reviews.open_review(tx, row.id, review))
    if (judging := wanted.judging) is not None:
        problems += _tried(tx, "the judging", lambda: judge_runs.request(tx, row.id, judging))
    row.afterwards = wanted.model_copy(update={"problems": tuple(problems)}).json_dict()
    row.judged_afterwards_at = utc_now()
    tx.audit("evaluation.judge_afterwards", "evaluation", row.id, problems=problems)
    tx.session.flush()
    return runs.value(tx, row)


def _tried(tx: Transaction, what: str, verb: Callable[[], Any]) -> list[str]:
    """Nothing of a verb that is refused stays, its audit entry neither."""
    entries = len(tx.events)
    try:
        with tx.session.begin_nested():
            verb()
    except PlatformError as error:
        del tx.events[entries:]
        return [f"{what} could not begin: {error.told}. {error.remedy}"]
    return []
