"""What people said of the units that models judged."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.evaluation.judge_licences import Answers
from llmops_resources.evaluation.judge_suite import Judging
from llmops_resources.evaluation.review_judgements import judgements
from llmops_resources.evaluation.review_rubrics import Criterion, CriterionKind
from llmops_resources.evaluation.reviews import ReviewStatus
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.evaluation.tables import ReviewRow, ReviewUnitRow


def said(
    tx: Transaction, run: Evaluation, criterion: Criterion, samples: Sequence[int]
) -> tuple[dict[str, Answers], tuple[UUID, ...]]:
    """By person, their judgement of each sample, and the reviews it comes from: the closed ones of the same answers
    under the same rubric. Adjudications are left out: they come after the others' judgements."""
    judging = Judging.model_validate(run.judging)
    found: dict[str, dict[int, float]] = {}
    rows = _closed(tx, run.judged_id, judging.other_id, judging.suite.rubric.digest)
    for row in rows:
        units = select(ReviewUnitRow.number, ReviewUnitRow.sample).filter_by(review_id=row.id)
        sample_of = dict[int, int](tx.session.execute(units).all())
        turned = row.evaluation_id != run.judged_id  # the other run's answers came first
        for judgement in judgements(tx, row):
            if not judgement.adjudication:
                value = judgement.values[criterion.name]
                flips = turned and criterion.kind is CriterionKind.PAIRWISE
                found.setdefault(judgement.person, {})[sample_of[judgement.unit]] = 1 - value if flips else value
    by_person: dict[str, Answers] = {
        name: [given.get(index) for index in samples] for name, given in sorted(found.items())
    }
    return by_person, tuple(row.id for row in rows)


def _closed(tx: Transaction, run_id: UUID | None, other_id: UUID | None, rubric: str) -> list[ReviewRow]:
    query = select(ReviewRow).filter_by(rubric_digest=rubric, status=ReviewStatus.CLOSED)
    rows = tx.session.scalars(query.order_by(ReviewRow.closed_at, ReviewRow.id))
    return [row for row in rows if {row.evaluation_id, row.other_id} == {run_id, other_id}]
