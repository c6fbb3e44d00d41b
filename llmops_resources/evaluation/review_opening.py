"""What a review needs to be opened: a plan that can be carried out, and answers to judge."""

from typing import Any
from uuid import UUID

from pydantic import Field

from llmops_resources.errors import Conflict, FieldProblem, ValidationFailed, field_problem
from llmops_resources.evaluation import review_plan
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.evaluation.runs import Evaluation, Sample
from llmops_resources.values import Value


class ReviewPlan(Value):
    """How a review is done: each unit by `overlap` people, named ones or whoever has one of the roles and joins."""

    rubric: str
    reviewers: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    overlap: int = Field(default=2, ge=1, le=10)
    sample_size: int | None = Field(default=None, ge=1)
    seed: int = 0
    show_expected: bool = True
    adjudicator: str | None = None
    other_evaluation_id: UUID | None = None


def check(plan: ReviewPlan, rubric: Rubric, run: Evaluation, other: Evaluation | None) -> None:
    """Raises ValidationFailed with everything that stands in the way."""
    problems: list[FieldProblem] = []
    if len(set(plan.reviewers)) < len(plan.reviewers) or not all(person.strip() for person in plan.reviewers):
        problems.append(field_problem("reviewers", "a name is empty or there twice", "Name everybody once."))
    if not plan.roles and len(plan.reviewers) < plan.overlap:
        remedy = "Name more people, add a role whose members may join, or lower the overlap."
        problem = f"{len(plan.reviewers)} people cannot judge everything {plan.overlap} times"
        problems.append(field_problem("overlap", problem, remedy))
    if plan.adjudicator in plan.reviewers:
        problems.append(field_problem("adjudicator", "is among the reviewers", "Name somebody else."))
    if rubric.pairwise != (other is not None):
        what = "compares two answers and needs another evaluation" if rubric.pairwise else "judges one answer"
        problems.append(field_problem("otherEvaluationId", f"the rubric {what}", "Choose a rubric that fits."))
    if other is not None and (other.id == run.id or other.dataset_digest != run.dataset_digest):
        problems.append(
            field_problem("otherEvaluationId", "is no other evaluation on the same data", "Compare on one benchmark.")
        )
    if problems:
        raise ValidationFailed("the review cannot be done like this", details=problems)


def units(plan: ReviewPlan, run: Evaluation, other: Evaluation | None) -> list[tuple[int, dict[str, Any]]]:
    """(sample, what is judged) in the order of the samples: those that every evaluation answered."""
    answered = [_answered(run), *([_answered(other)] if other else [])]
    shared = sorted(set.intersection(*(set(samples) for samples in answered)))
    chosen = sorted(review_plan.shuffled(plan.seed, "sample", shared)[: plan.sample_size])
    if not chosen:
        raise Conflict("there are no answers to review", remedy="Wait until the evaluation has succeeded.")
    return [
        (
            number,
            {
                "input": answered[0][number].input,
                "expected": answered[0][number].expected if plan.show_expected else None,
                "answers": [samples[number].actual for samples in answered],
            },
        )
        for number in chosen
    ]


def _answered(run: Evaluation) -> dict[int, Sample]:
    if run.result is None:
        return {}
    return {sample.index: sample for sample in run.result.samples if sample.actual is not None}
