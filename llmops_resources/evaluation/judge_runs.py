"""Evaluations by models: requested over a finished run's answers, and what their judges are licensed for."""

import secrets as randomness
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from llmops_resources.catalog import approvals, providers, versions
from llmops_resources.catalog.lifecycle import ModelType
from llmops_resources.catalog.providers import Connection
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import (
    Conflict,
    FieldProblem,
    PlatformError,
    UpstreamFailed,
    ValidationFailed,
    field_problem,
)
from llmops_resources.evaluation import gate_staleness, gate_verdicts, judge_units, runs
from llmops_resources.evaluation.judge_licences import Terms
from llmops_resources.evaluation.judge_standing import Standing, voice_of
from llmops_resources.evaluation.judge_suite import Judge, JudgeSuite, Judging, Unit
from llmops_resources.evaluation.judged import JudgeLicence
from llmops_resources.evaluation.runs import Evaluation, Result, RunType
from llmops_resources.settings import Settings
from llmops_resources.work import WorkStatus


@dataclass(frozen=True)
class Asked:
    """A judge as the run that asks it needs it; `connection` of a model that runs at a provider."""

    judge: Judge
    version: Version
    connection: Connection | None


@dataclass(frozen=True)
class JudgeTask:
    """What the run that claimed a judging needs; `team` owns the model that is judged."""

    team: str
    suite: JudgeSuite
    secret: bytes
    units: list[Unit]
    judges: list[Asked]


def request(
    tx: Transaction, evaluation_id: UUID | str, suite: JudgeSuite, *, other_id: UUID | None = None
) -> Evaluation:
    """Have models judge a finished evaluation's answers, or compare them with those of `other_id`.

    Raises:
        NotFound: there is no such evaluation.
        Conflict: it is not finished, or it has no answers to judge.
        ValidationFailed: with every judge that cannot judge here, or when the two evaluations do not compare.
    """
    run = _finished(tx, evaluation_id)
    other = _finished(tx, other_id) if other_id is not None else None
    if other is not None and (other.id == run.id or other.dataset_digest != run.dataset_digest):
        problem = field_problem(
            "otherEvaluationId", "is no other evaluation on the same data", "Compare on one benchmark."
        )
        raise ValidationFailed("the two evaluations do not compare", details=[problem])
    suite = suite.model_copy(update={"judges": fitting(tx, suite, [run, *filter(None, (other,))])})
    if not _units(suite, run, other):
        raise Conflict("there is no answer to judge", remedy="Judge an evaluation that has answers.")
    judging = Judging(suite=suite, other_id=other_id, secret=randomness.token_hex(16))
    return runs.request_judged(tx, run, RunType.LLM_JUDGE, judging.json_dict())


def task(tx: Transaction, settings: Settings, evaluation: Evaluation) -> JudgeTask:
    """What there is to judge, and by whom. Raises Conflict for a judge that may not be used any more."""
    judging = Judging.model_validate(evaluation.judging)
    run = _finished(tx, evaluation.judged_id or evaluation.id)
    other = _finished(tx, judging.other_id) if judging.other_id is not None else None
    asked = []
    for judge in judging.suite.judges:
        version = approvals.approved_model(tx, judge.model_id).version
        if version.digest != judge.digest:
            raise Conflict(f"{judge.name} changed after the request", remedy="Request the judging again.")
        external = version.type is ModelType.EXTERNAL
        asked.append(Asked(judge, version, providers.connect(tx, settings, version) if external else None))
    team = versions.get(tx, run.model_id).owner_team
    return JudgeTask(team, judging.suite, judging.secret.encode(), _units(judging.suite, run, other), asked)


def finish(tx: Transaction, evaluation_id: UUID, result: Result, *, run_id: str) -> Evaluation:
    """Keep what the judges found, and judge it by the gates that ask for it.

    What these judges have decided before is looked at again, since they may have drifted from people by now.
    Raises UpstreamFailed when none of them gave a judgement: that is no result.
    """
    if not result.metrics and result.judged is not None:
        first = next((j.problem for unit in result.judged.units for j in unit.judgements if j.problem), "")
        raise UpstreamFailed(f"no judge gave a judgement: {first}", remedy="Test the judges, then judge again.")
    waiting = runs.get(tx, evaluation_id)
    rubric = Judging.model_validate(waiting.judging).suite.rubric
    gate_staleness.lock(tx, waiting.dataset_name, rubric.digest)
    done = runs.finish(tx, evaluation_id, result, run_id=run_id)
    standing = Standing(tx, done.dataset_name, rubric)
    gate_staleness.examine(tx, done.dataset_name, rubric, standing)
    gate_verdicts.judge_by_models(tx, done, standing)
    return runs.get(tx, evaluation_id)


def licences(tx: Transaction, run_id: UUID | str, terms: Terms | None = None) -> list[JudgeLicence]:
    """What a run's judges may decide, by everything people have said of answers to this benchmark under its rubric.

    What people say later counts at once, so a judge that drifts from them loses its licence.
    Raises NotFound, and Conflict for a run that no model judged.
    """
    run = runs.get(tx, run_id)
    judged = run.result.judged if run.result else None
    if run.run_type is not RunType.LLM_JUDGE or judged is None:
        raise Conflict("no model has judged in this evaluation", remedy="Name a finished run of judges.")
    standing = Standing(tx, run.dataset_name, judged.rubric)
    judges: list[Judge | None] = [report.judge for report in judged.judges]
    if len(judges) > 1:
        judges.append(None)  # all of them together
    return [
        JudgeLicence(
            judge=judge, criterion=criterion.name, reviews=standing.reviews,
            licence=standing.licence(voice, criterion.name, terms or Terms()),
        )
        for criterion in judged.rubric.criteria
        for judge in judges
        if (voice := voice_of(run.judging, judge.model_id if judge else None)) is not None
    ]  # fmt: skip


def _units(suite: JudgeSuite, run: Evaluation, other: Evaluation | None) -> list[Unit]:
    samples = run.result.samples if run.result else ()
    return judge_units.units(suite, samples, other.result.samples if other and other.result else None)


def _finished(tx: Transaction, evaluation_id: UUID | str) -> Evaluation:
    run = runs.get(tx, evaluation_id)
    if run.run_type is not RunType.AUTOMATED or run.state.status is not WorkStatus.SUCCEEDED or run.result is None:
        raise Conflict(
            f"evaluation {run.id} has no answers of a model: it is {run.run_type} and {run.state.status}",
            remedy="Judge an automated evaluation that has succeeded.",
        )
    return run


def fitting(tx: Transaction, suite: JudgeSuite, judged: Sequence[Evaluation]) -> tuple[Judge, ...]:
    """The suite's judges with digests and names. Raises ValidationFailed with each that cannot judge these runs."""
    found, problems = [], []
    for at, judge in enumerate(suite.judges):
        try:
            version = approvals.approved_model(tx, judge.model_id).version
        except PlatformError as error:
            problems.append(field_problem(f"judges.{at}.modelId", error.message, error.remedy))
            continue
        problems += _unfit(at, version, judged)
        named = {"digest": version.digest, "name": f"{version.name} {version.version}"}
        found.append(judge.model_copy(update=named))
    if problems:
        raise ValidationFailed("these judges cannot judge here", details=problems)
    return tuple(found)


def _unfit(at: int, version: Version, judged: Sequence[Evaluation]) -> Iterator[FieldProblem]:
    if any(version.name == run.model_name for run in judged):
        what = f"{version.name} would judge its own answers"
        yield field_problem(f"judges.{at}.modelId", what, "Name a model of another name.")
