"""Whether to promote a model over the one it is compared with: what its gates said, and what chance does not explain.

The advice is no approval: a reviewer decides, and what stands in the way of an approval is the gates' affair alone.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final
from uuid import UUID

from llmops_resources.catalog import evidence, versions
from llmops_resources.database import Transaction
from llmops_resources.evaluation import comparing, gate_verdicts
from llmops_resources.evaluation.comparing import EvaluationComparison, MetricComparison
from llmops_resources.evaluation.gate_verdicts import GateVerdict
from llmops_resources.evaluation.gates import Outcome
from llmops_resources.evaluation.suite import MetricName
from llmops_resources.values import Value

#: Figures of which neither more nor less is better by itself.
NEUTRAL: Final = frozenset({MetricName.ANSWER_LENGTH, MetricName.REFUSAL_RATE})


class Advice(StrEnum):
    PROMOTE = "promote"
    KEEP = "keep"
    UNDECIDED = "undecided"


class Recommendation(Value):
    """What to do with the second model of a comparison, and every reason."""

    advice: Advice
    reasons: tuple[str, ...]


class AdvisedComparison(EvaluationComparison):
    """Two runs side by side, with the advice on the second's model."""

    recommendation: Recommendation


def compare(tx: Transaction, run_ids: Sequence[UUID]) -> list[AdvisedComparison]:
    """Each of the runs beside the first, which is the baseline, with advice. Raises as `comparing.compare` does."""
    return [_advised(tx, found) for found in comparing.compare(tx, run_ids)]


def advise(comparison: EvaluationComparison, verdicts: Sequence[GateVerdict], unmet: Sequence[str]) -> Recommendation:
    """The advice from a comparison, what the gates in force said of the second run, and what its model has not met.

    Keep what a failed gate or a loss beyond chance speaks against; promote on a gain beyond chance, or on gates that
    all passed. Whatever is unknown leaves it undecided.
    """
    if not comparison.comparable:
        why = tuple(f"they do not compare: {each.reason}" for each in comparison.differences)
        return Recommendation(advice=Advice.UNDECIDED, reasons=why)
    better, worse = _beyond_chance(comparison.metrics)
    passed = [each for each in verdicts if each.verdict.outcome is Outcome.PASSED and not each.stale]
    reasons = [*(f"it passed the gate {each.gate.gate.name}" for each in passed), *unmet, *worse, *better]
    if not better and not worse:
        reasons.append("no metric differs by more than chance explains")
    if worse or any(each.verdict.outcome is Outcome.FAILED for each in verdicts):
        advice = Advice.KEEP
    else:
        advice = Advice.PROMOTE if not unmet and (better or passed) else Advice.UNDECIDED
    return Recommendation(advice=advice, reasons=tuple(reasons))


def _beyond_chance(metrics: Sequence[MetricComparison]) -> tuple[list[str], list[str]]:
    better: list[str] = []
    worse: list[str] = []
    for each in metrics:
        by = each.difference
        if by is None or each.metric in NEUTRAL or by.low <= 0 <= by.high:
            continue
        words = f"{each.metric} differs by {by.value:+.3f} ({by.low:+.3f} to {by.high:+.3f}) over {by.n} samples"
        (better if by.low > 0 else worse).append(words)
    return better, worse


def _advised(tx: Transaction, comparison: EvaluationComparison) -> AdvisedComparison:
    run = comparison.second
    verdicts = [each for each in gate_verdicts.of_run(tx, run.id) if each.gate.in_force]
    advice = advise(comparison, verdicts, evidence.unmet(tx, versions.get(tx, run.model_id)))
    parts = {name: getattr(comparison, name) for name in EvaluationComparison.model_fields}
    return AdvisedComparison(**parts, recommendation=advice)
