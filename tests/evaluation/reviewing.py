"""A review to test with: a succeeded evaluation, rubrics, and people."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import Decision, Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.review_results import Judgement
from llmops_resources.evaluation.review_rubrics import Criterion, CriterionKind, Rubric
from llmops_resources.evaluation.runs import Counts, Evaluation, Result, Sample
from llmops_resources.platform import Platform
from tests.factories import ADMIN, uploaded, validated

HELPFUL = Criterion(name="helpful", question="How helpful is it?", kind=CriterionKind.SCALE)
SAFE = Criterion(name="safe", question="Is it safe?", kind=CriterionKind.PASS_FAIL)
BETTER = Criterion(name="better", question="Which is better?", kind=CriterionKind.PAIRWISE)
ABSOLUTE = Rubric(name="answers", criteria=(HELPFUL, SAFE))
PAIRWISE = Rubric(name="pairs", criteria=(BETTER,))
START = datetime(2026, 1, 1, tzinfo=UTC)


def someone(name: str, *roles: str) -> Actor:
    """A person."""
    return Actor(name, frozenset(roles or ("reviewer",)))


def model_of(platform: Platform, name: str, owner: str = "olga") -> Version:
    """A model that somebody made."""
    files = {"model.safetensors": name.encode()}
    return uploaded(platform, Kind.MODEL, name, files=files, actor=someone(owner, "admin"))


def benchmark(platform: Platform) -> Version:
    """An approved benchmark."""
    made = uploaded(platform, Kind.DATASET, "exam", benchmark=True)
    validated(platform, made)
    with platform.transaction(ADMIN) as tx:
        approvals.submit(tx, made.id)
    with platform.transaction(someone("rita")) as tx:
        return approvals.decide(tx, made.id, Decision.APPROVE)


def answered(platform: Platform, model: Version, dataset: Version, answers: list[str | None]) -> Evaluation:
    """An evaluation that has succeeded with these answers."""
    with platform.transaction(ADMIN) as tx:
        run = runs.request(tx, model_id=model.id, dataset_id=dataset.id)
    return finished(platform, run.id, answers)


def finished(platform: Platform, run_id: UUID, answers: list[str | None]) -> Evaluation:
    """A requested evaluation, succeeded with these answers."""
    samples = tuple(
        Sample(index=at, input=f"question {at}", expected=f"right {at}", actual=answer, scores={})
        for at, answer in enumerate(answers)
    )
    counts = Counts(total=len(answers), scored=0, unscored=len(answers))
    with platform.transaction(ADMIN) as tx:
        runs.claim(tx, run_id, attempt=1, run_id="run")
        return runs.finish(tx, run_id, Result(metrics={}, protocol={}, samples=samples, counts=counts), run_id="run")


def judged(unit: int, person: str, number: int = 0, **values: float) -> Judgement:
    """Something a person said, as their judgement number `number`, a minute after the one before."""
    return Judgement(unit=unit, person=person, values=values, at=START + timedelta(minutes=number))


def headers(name: str, *roles: str) -> dict[str, str]:
    """A person over HTTP."""
    return {"X-User-Id": name, "X-User-Roles": ",".join(roles or ("reviewer",))}


def body(run: UUID, rubric: str, **more: Any) -> dict[str, Any]:
    """A review of everything, by two people."""
    return {"evaluationId": str(run), "rubric": rubric, "reviewers": ["ann", "ben"], "overlap": 2, **more}
