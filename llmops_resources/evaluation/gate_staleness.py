"""Verdicts that leaned on a judge whose licence does not hold any more: they stand no more, until it is judged again.

A licence changes when people close a review and when a judge judges; whoever does either holds the lock, so that no
verdict falls between a look at the licence and the look at the verdicts.
"""

from typing import NamedTuple

from sqlalchemy import func, select

from llmops_resources.catalog import evidence
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.database import Transaction
from llmops_resources.evaluation.gate_conditions import JudgeThreshold
from llmops_resources.evaluation.gates import Gate, Verdict
from llmops_resources.evaluation.judge_standing import Standing, voice_of
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.evaluation.tables import EvaluationRow, GateRow, GateVerdictRow, StaleVerdictRow
from llmops_resources.values import utc_now


class _Leaning(NamedTuple):
    verdict: GateVerdictRow
    gate: GateRow
    run: EvaluationRow


def lock(tx: Transaction, benchmark: str, rubric_digest: str) -> None:
    """Until the transaction ends nobody else changes or leans on a licence of this benchmark and rubric."""
    key = func.hashtext(f"licence/{benchmark}/{rubric_digest}")
    tx.session.execute(select(func.pg_advisory_xact_lock(key)))


def examine(tx: Transaction, benchmark: str, rubric: Rubric, standing: Standing | None = None) -> int:
    """Mark every verdict stale that leaned on a licence which was revoked; how many. The lock must be held."""
    leaning = _leaning(tx, benchmark, rubric.digest)
    if not leaning:
        return 0
    standing = standing or Standing(tx, benchmark, rubric)
    marked = 0
    for each in leaning:
        if reasons := _revoked(each, standing):
            _mark(tx, each, "; ".join(reasons))
            marked += 1
    return marked


def _leaning(tx: Transaction, benchmark: str, rubric_digest: str) -> list[_Leaning]:
    query = (
        select(GateVerdictRow, GateRow, EvaluationRow)
        .join(GateRow, GateRow.id == GateVerdictRow.gate_id)
        .join(EvaluationRow, EvaluationRow.id == GateVerdictRow.evaluation_id)
        .outerjoin(StaleVerdictRow, StaleVerdictRow.verdict_id == GateVerdictRow.id)
        .where(GateRow.benchmark_name == benchmark, StaleVerdictRow.verdict_id.is_(None))
        .order_by(GateVerdictRow.recorded_at, GateVerdictRow.id)
    )
    found = [_Leaning(*row) for row in tx.session.execute(query)]
    return [each for each in found if Gate.model_validate(each.gate.content).rubric == rubric_digest]


def _revoked(leaning: _Leaning, standing: Standing) -> list[str]:
    reasons = []
    for judgement in Verdict.model_validate(leaning.verdict.content).judgements:
        condition = judgement.condition
        if not isinstance(condition, JudgeThreshold) or judgement.licence is None or not judgement.licence.granted:
            continue
        voice = voice_of(leaning.run.judging, condition.judge_id)
        now = standing.licence(voice, condition.criterion, condition.terms) if voice else None
        if now is not None and not now.granted:
            reasons.append(f"the judge of {condition.criterion} lost its licence: {'; '.join(now.reasons)}")
    return reasons


def _mark(tx: Transaction, leaning: _Leaning, reason: str) -> None:
    verdict, gate, run = leaning
    tx.session.add(StaleVerdictRow(verdict_id=verdict.id, reason=reason))
    if run.stale_at is None:
        run.stale_at, run.stale_reason = utc_now(), reason
    tx.audit("gate.stale", "gate", gate.id, evaluation=str(run.id), reason=reason)
    found = (e for e in evidence.of_version(tx, run.model_id, EvidenceKind.GATE) if e.source_id == str(gate.id))
    newest = next(found, None)
    if newest is None or newest.summary.get("evaluation") != str(run.id):
        return  # a later verdict is what counts
    evidence.attach(
        tx, run.model_id, EvidenceKind.GATE, digest=run.model_digest, source_id=gate.id, passed=None,
        summary={**newest.summary, "outcome": "stale", "reasons": [f"{reason}: have the model judged again"]},
    )  # fmt: skip
