"""Gates as rows: declared beforehand, judged when an evaluation finishes, kept as evidence that approvals need."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import cast, func, select
from sqlalchemy.dialects.postgresql import JSONPATH

from llmops_resources.catalog import approvals, evidence, versions
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Transaction
from llmops_resources.errors import FieldProblem, NotFound, ValidationFailed, field_problem
from llmops_resources.evaluation import gates, judge_standing, review_rubrics, run_lists, runs
from llmops_resources.evaluation.comparing import differences_of
from llmops_resources.evaluation.gate_conditions import CURRENT, JudgeThreshold, NonInferiority
from llmops_resources.evaluation.gates import Gate, JudgeScores, Outcome, Verdict
from llmops_resources.evaluation.judge_standing import Standing
from llmops_resources.evaluation.review_rubrics import Criterion, CriterionKind
from llmops_resources.evaluation.runs import Evaluation, Result, Stale
from llmops_resources.evaluation.tables import GateRow, GateVerdictRow, StaleVerdictRow
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.values import Value
from llmops_resources.work import WorkStatus


class DeclaredGate(Value):
    """A version of a gate, who declared it and when. `in_force`: no newer one of its name, and not withdrawn."""

    id: UUID
    digest: str
    gate: Gate
    in_force: bool
    created_by: str
    created_at: datetime


class GateVerdict(Value):
    """What a gate said about an evaluation. A `stale` one counts no more: a judge it leaned on lost its licence."""

    id: UUID
    gate: DeclaredGate
    evaluation_id: UUID
    verdict: Verdict
    recorded_at: datetime
    stale: Stale | None = None


def declare(tx: Transaction, gate: Gate) -> DeclaredGate:
    """Declare a gate; it replaces the one of the same model, benchmark and name. The same again changes nothing.

    Raises:
        Forbidden: the actor does not approve models.
        ValidationFailed: there is no such benchmark, or a condition asks judges for what they do not say.
    """
    require(tx.actor, Permission.GATE_DECLARE)
    if problems := list(_problems(tx, gate)):
        raise ValidationFailed("the gate cannot be declared", details=problems)
    before = _newest(tx, gate.model, gate.benchmark).get(gate.name)
    if before is not None and before.digest == gate.digest:
        return _declared(tx, before)
    row = GateRow(
        model_name=gate.model, benchmark_name=gate.benchmark, name=gate.name, digest=gate.digest,
        content=gate.json_dict(), created_by=tx.actor.id,
    )  # fmt: skip
    tx.session.add(row)
    tx.session.flush()
    tx.audit("gate.declare", "gate", row.id, digest=gate.digest, model=gate.model, benchmark=gate.benchmark)
    evidence.require(
        tx, Kind.MODEL, gate.model, EvidenceKind.GATE,
        key=f"{gate.benchmark}/{gate.name}", source_id=row.id if gate.conditions else None,
        description=f"the gate {gate.name} on {gate.benchmark}",
    )  # fmt: skip
    return _declared(tx, row)


def declared(tx: Transaction, *, model: str | None = None, benchmark: str | None = None) -> list[DeclaredGate]:
    """Every version of every gate of these names, newest first."""
    query = select(GateRow).order_by(GateRow.created_at.desc(), GateRow.id)
    exact = {"model_name": model, "benchmark_name": benchmark}
    query = query.filter_by(**{column: wanted for column, wanted in exact.items() if wanted is not None})
    return [_declared(tx, row) for row in tx.session.scalars(query)]


def get(tx: Transaction, gate_id: UUID) -> DeclaredGate:
    """One version of a gate. Raises NotFound."""
    row = tx.session.get(GateRow, gate_id)
    if row is None:
        raise NotFound(f"there is no gate {gate_id}", remedy="List the gates.")
    return _declared(tx, row)


def finish(tx: Transaction, evaluation_id: UUID, result: Result, *, run_id: str) -> Evaluation:
    """Finish an evaluation and judge it by every gate in force; each verdict becomes evidence about the model."""
    done = runs.finish(tx, evaluation_id, result, run_id=run_id)
    for row, gate in _in_force(tx, done):
        if gate.rubric is None:
            _judge(tx, row, gate, done)
    return done


def judge_by_models(tx: Transaction, run: Evaluation, standing: Standing) -> None:
    """Judge a finished run of judges by every gate in force that asks for its rubric."""
    judged = run.result.judged if run.result else None
    for row, gate in _in_force(tx, run):
        if judged is not None and gate.rubric == judged.rubric_digest:
            _judge(tx, row, gate, run, standing)


def of_run(tx: Transaction, run_id: UUID | str) -> list[GateVerdict]:
    """The verdicts about an evaluation, in order of the gates' names. Raises NotFound."""
    run = runs.get(tx, run_id)
    query = select(GateVerdictRow, GateRow, StaleVerdictRow).join(GateRow).outerjoin(StaleVerdictRow)
    query = query.filter(GateVerdictRow.evaluation_id == run.id).order_by(GateRow.name)
    return [_verdict(tx, row, gate, stale) for row, gate, stale in tx.session.execute(query)]


def state_of(tx: Transaction, model_name: str) -> tuple[bool, list[str]]:
    """Whether the newest version of a model with files meets every gate in force, and why not, for its asset check."""
    newest = next((version for version in versions.of_name(tx, Kind.MODEL, model_name) if version.digest), None)
    problems = evidence.unmet(tx, newest) if newest is not None else []
    return not problems, problems


def _problems(tx: Transaction, gate: Gate) -> Iterable[FieldProblem]:
    if not versions.of_name(tx, Kind.DATASET, gate.benchmark):
        yield field_problem("benchmark", f"there is no data set {gate.benchmark!r}", "Name a data set.")
    for at, condition in enumerate(gate.conditions):
        if isinstance(condition, JudgeThreshold):
            yield from _unjudgeable(tx, f"conditions.{at}", condition)


def _unjudgeable(tx: Transaction, path: str, condition: JudgeThreshold) -> Iterable[FieldProblem]:
    try:
        rubric = review_rubrics.get(tx, condition.rubric).rubric
    except NotFound as error:
        yield field_problem(f"{path}.rubric", error.message, error.remedy)
        return
    found = next((each for each in rubric.criteria if each.name == condition.criterion), None)
    if found is None:
        names = ", ".join(each.name for each in rubric.criteria)
        yield field_problem(f"{path}.criterion", "is not in the rubric", f"Choose among {names}.")
    elif found.kind is CriterionKind.PAIRWISE:
        remedy = "Take a rubric that judges one answer at a time."
        yield field_problem(f"{path}.criterion", "compares two answers, and its mean depends on the other", remedy)
    elif not _ends(found)[0] < condition.bound < _ends(found)[1]:
        low, high = _ends(found)
        bound = "atLeast" if condition.at_least is not None else "atMost"
        problem = f"{condition.bound:g} is not between the ends of the scale"
        yield field_problem(f"{path}.{bound}", problem, f"Choose a bound between {low:g} and {high:g}.")


def _ends(criterion: Criterion) -> tuple[float, float]:
    return (criterion.low, criterion.high) if criterion.kind is CriterionKind.SCALE else (0.0, 1.0)


def _in_force(tx: Transaction, run: Evaluation) -> list[tuple[GateRow, Gate]]:
    found = _newest(tx, run.model_name, run.dataset_name).values()
    return [(row, Gate.model_validate(row.content)) for row in found if row.content["conditions"]]


def _judge(tx: Transaction, row: GateRow, gate: Gate, run: Evaluation, standing: Standing | None = None) -> None:
    tx.session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"{row.model_name}/{row.name}"))))
    began = run.state.requested_at
    if row.created_at >= began:
        reason = f"the gate was declared at {row.created_at:%F %T}, after the evaluation was asked for at {began:%F %T}"
        verdict = gates.refused(gate, f"{reason}: evaluate again")
    else:
        named = {c.baseline for c in gate.conditions if isinstance(c, NonInferiority)}
        judges = {c: _scores(tx, run, c, standing) for c in gate.conditions if isinstance(c, JudgeThreshold)}
        verdict = gates.judge(gate, run, dict(_baselines(tx, run, named)), _looks(tx, row) + 1, judges)
    kept = GateVerdictRow(gate_id=row.id, evaluation_id=run.id, content=verdict.json_dict())
    tx.session.add(kept)
    tx.session.flush()
    tx.audit("gate.judge", "gate", row.id, evaluation=str(run.id), outcome=verdict.outcome, look=verdict.look)
    evidence.attach(
        tx, run.model_id, EvidenceKind.GATE, digest=run.model_digest, source_id=row.id,
        passed={Outcome.PASSED: True, Outcome.FAILED: False}.get(verdict.outcome),
        summary={"gate": gate.name, "digest": row.digest, "evaluation": str(run.id), "outcome": verdict.outcome.value,
                 "look": verdict.look, "reasons": list(verdict.reasons)},
    )  # fmt: skip


def _looks(tx: Transaction, row: GateRow) -> int:
    """How often gates of this name looked at this model: at any version of either, so that neither resets the count.

    A verdict in which no condition had scores to test looked at nothing, and uses up nothing.
    """
    query = select(func.count()).select_from(GateVerdictRow).join(GateRow)
    looked = func.jsonb_path_exists(GateVerdictRow.content, cast("$.judgements[*] ? (@.n > 0)", JSONPATH))
    return tx.session.scalar(query.filter_by(**_names(row)).where(looked)) or 0


def _scores(
    tx: Transaction, run: Evaluation, condition: JudgeThreshold, standing: Standing | None
) -> JudgeScores | str:
    voice = judge_standing.voice_of(run.judging, condition.judge_id)
    judged = run.result.judged if run.result else None
    if voice is None or judged is None or standing is None:
        return "this judge did not judge in the run"
    said = judge_standing.said_by(run, voice, condition.criterion)
    values = {index: value for (_, index), value in said.items()}
    answers = runs.get(tx, run.judged_id or run.id).result
    silent = [sample.index for sample in answers.samples if sample.actual is None] if answers else []
    low, high = next(_ends(each) for each in judged.rubric.criteria if each.name == condition.criterion)
    licence = standing.licence(voice, condition.criterion, condition.terms)
    return JudgeScores({**dict.fromkeys(silent), **values}, low, high, licence)


def _baselines(tx: Transaction, run: Evaluation, named: Iterable[str]) -> Iterable[tuple[str, Evaluation | str]]:
    for name in named:
        if name == CURRENT:
            version = approvals.current(tx, Kind.MODEL, run.model_name)
        else:
            known = versions.of_name(tx, Kind.MODEL, run.model_name)
            version = next((v for v in known if v.version == name), None)
        if version is None:
            yield name, f"{run.model_name} has no {name} version to compare with"
        elif version.id == run.model_id:
            yield name, f"{version.version} is the baseline itself"
        else:
            done = run_lists.search(tx, model_id=version.id, dataset_id=run.dataset_id, status=WorkStatus.SUCCEEDED)
            same = [found for found in done.items if found.model_digest == version.digest]
            best = next((found for found in same if not list(differences_of(found, run))), None)
            missing = f"{version.version} was not evaluated on {run.dataset_name} {run.dataset_version}"
            yield name, best or (same[0] if same else missing)


def _newest(tx: Transaction, model: str, benchmark: str) -> dict[str, GateRow]:
    query = select(GateRow).filter_by(model_name=model, benchmark_name=benchmark)
    return {row.name: row for row in tx.session.scalars(query.order_by(GateRow.created_at, GateRow.id))}


def _names(row: GateRow) -> dict[str, str]:
    return {"model_name": row.model_name, "benchmark_name": row.benchmark_name, "name": row.name}


def _declared(tx: Transaction, row: GateRow) -> DeclaredGate:
    newest = _newest(tx, row.model_name, row.benchmark_name)[row.name]
    return DeclaredGate(
        id=row.id,
        digest=row.digest,
        gate=Gate.model_validate(row.content),
        in_force=newest.id == row.id and bool(row.content["conditions"]),
        created_by=row.created_by,
        created_at=row.created_at,
    )


def _verdict(tx: Transaction, row: GateVerdictRow, gate: GateRow, stale: StaleVerdictRow | None) -> GateVerdict:
    return GateVerdict(
        id=row.id,
        gate=_declared(tx, gate),
        evaluation_id=row.evaluation_id,
        verdict=Verdict.model_validate(row.content),
        recorded_at=row.recorded_at,
        stale=Stale(at=stale.at, reason=stale.reason) if stale else None,
    )
