"""A gate: what a model must prove on a benchmark, declared beforehand, and the verdict with all its reasons.

Every condition is a test against "the condition does not hold", so what is not shown is not passed. Holm's correction
goes over all conditions of the gate; one that cannot be judged counts with p = 1. A judge's scores are tested
like those of a scorer, but only while the judge is licensed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import numpy as np
from pydantic import Field, model_validator

from llmops_resources.evaluation import betting
from llmops_resources.evaluation.betting import Scores
from llmops_resources.evaluation.comparing import differences_of, incomparable
from llmops_resources.evaluation.gate_conditions import (
    AnyCondition,
    Condition,
    JudgeThreshold,
    Label,
    NonInferiority,
    Threshold,
    check_together,
    words,
)
from llmops_resources.evaluation.judge_licences import Licence
from llmops_resources.evaluation.runs import Evaluation, Result
from llmops_resources.evaluation.suite import MetricName
from llmops_resources.values import Value, sha256_of

LEAST_SAMPLES: Final = 30


class Gate(Value):
    """What every version of a model must show on a benchmark; without conditions the gate of this name is withdrawn."""

    name: Label
    model: Label
    benchmark: Label
    conditions: Annotated[tuple[Condition, ...], Field(max_length=20)]
    min_samples: Annotated[int, Field(ge=LEAST_SAMPLES)] = LEAST_SAMPLES

    @model_validator(mode="after")
    def _one_kind_of_run(self) -> "Gate":
        check_together(self.conditions)
        return self

    @property
    def rubric(self) -> str | None:
        """The digest of what judges judge by; None for a gate that scorers meet."""
        return next((each.rubric for each in self.conditions if isinstance(each, JudgeThreshold)), None)

    @property
    def digest(self) -> str:
        """Equal for equal gates: `sha256:<hex>`."""
        return sha256_of(self.json_dict())


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ConditionVerdict(Value):
    """One condition: the figure over `n` samples and its one-sided confidence bound, which is what is judged.

    Differences are candidate minus baseline. `p` is adjusted by Holm and compared with the verdict's `alpha`.
    `licence`: what the judge's scores leaned on, where a judge gave them.
    """

    condition: Condition
    outcome: Outcome
    figure: float | None = None
    bound: float | None = None
    n: int = 0
    p: float = 1.0
    reason: str
    licence: Licence | None = None


class Verdict(Value):
    """What a gate says about an evaluation: passed when every condition passed, failed when one of them failed.

    `look` counts from 1 the verdicts that tested something; it is 0, and nothing is `alpha`, where no scores were
    looked at because a judge has no licence, too little was measured, or the gate may not judge.
    """

    outcome: Outcome
    look: int
    alpha: float
    judgements: tuple[ConditionVerdict, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Measured:
    """Scores in [0, 1] to test against a mean; a mean `m` of them is `slope`·m + `offset` to a reader."""

    scores: Scores
    against: float
    slope: float
    offset: float
    note: str = ""


@dataclass(frozen=True)
class JudgeScores:
    """What a judge said of each sample, None where it said nothing, on a scale from `low` to `high`."""

    values: Mapping[int, float | None]
    low: float
    high: float
    licence: Licence


Baselines = Mapping[str, Evaluation | str]
Judges = Mapping[JudgeThreshold, JudgeScores | str]


def judge(
    gate: Gate, run: Evaluation, baselines: Baselines | None = None, look: int = 1, judges: Judges | None = None
) -> Verdict:
    """Judge a finished evaluation, at what would be look number `look` at this model under this gate.

    `baselines` has for each baseline a condition names its evaluation, or why there is none; `judges` for each
    condition on a judge what that said, or why there is nothing. Samples the candidate has no score for count as the
    worst, those only the baseline lacks as its best: what is missing helps nobody.
    """
    baselines, judges = baselines or {}, judges or {}
    measured = [
        _by_judge(condition, judges.get(condition, "no judge was found"), gate.min_samples)
        if isinstance(condition, JudgeThreshold)
        else _measure(condition, run, baselines, gate.min_samples)
        for condition in gate.conditions
    ]
    if all(isinstance(found, str) for found in measured):
        look = 0
    alpha = betting.spent(look)
    raw = [1.0 if isinstance(m, str) else betting.p_value(m.scores, m.against) for m in measured]
    decided = (
        _unknown(condition, found) if isinstance(found, str) else _judged(condition, found, p, alpha / len(raw), alpha)
        for condition, found, p in zip(gate.conditions, measured, betting.holm(raw), strict=True)
    )
    judgements = tuple(
        each.model_copy(update={"licence": _licence(each.condition, judges)}) for each in decided
    )
    outcomes = {judgement.outcome for judgement in judgements}
    worst = next((o for o in (Outcome.FAILED, Outcome.UNKNOWN, Outcome.PASSED) if o in outcomes), Outcome.UNKNOWN)
    reasons = tuple(judgement.reason for judgement in judgements)
    return Verdict(outcome=worst, look=look, alpha=alpha, judgements=judgements, reasons=reasons)


def refused(gate: Gate, reason: str) -> Verdict:
    """The verdict of a gate that may not judge: unknown, without a look."""
    judgements = tuple(_unknown(condition, reason) for condition in gate.conditions)
    return Verdict(outcome=Outcome.UNKNOWN, look=0, alpha=0.0, judgements=judgements, reasons=(reason,))


def _by_judge(condition: JudgeThreshold, found: JudgeScores | str, least: int) -> _Measured | str:
    if isinstance(found, str):
        return found
    if not found.licence.granted:
        return f"the judge is not licensed: {'; '.join(found.licence.reasons)}"
    width, up = found.high - found.low, condition.at_least is not None
    given = [found.values[index] for index in sorted(found.values)]
    shares = np.array([float(not up) if value is None else (value - found.low) / width for value in given])
    missing = sum(value is None for value in given)
    if problem := _too_little(condition.criterion, shares, missing, least):
        return problem
    note = f"; {missing} without a judgement count as the worst" if missing else ""
    against = (condition.bound - found.low) / width
    if up:
        return _Measured(scores=shares, against=against, slope=width, offset=found.low, note=note)
    return _Measured(scores=1 - shares, against=1 - against, slope=-width, offset=found.high, note=note)


def _licence(condition: AnyCondition, judges: Judges) -> Licence | None:
    found = judges.get(condition) if isinstance(condition, JudgeThreshold) else None
    return found.licence if isinstance(found, JudgeScores) else None


def _measure(
    condition: Threshold | NonInferiority, run: Evaluation, baselines: Baselines, least: int
) -> _Measured | str:
    if run.result is None:
        return "the evaluation has no result"
    if isinstance(condition, NonInferiority):
        return _paired(condition, run, baselines.get(condition.baseline, "no baseline was found"), least)
    up = condition.at_least is not None
    scores, missing = _column(run.result, condition.metric, sorted(s.index for s in run.result.samples), not up)
    if problem := _too_little(condition.metric, scores, missing, least):
        return problem
    note = f"; {missing} without a score count as the worst" if missing else ""
    if condition.at_most is not None:
        return _Measured(scores=1 - scores, against=1 - condition.at_most, slope=-1.0, offset=1.0, note=note)
    return _Measured(scores=scores, against=condition.at_least or 0.0, slope=1.0, offset=0.0, note=note)


def _paired(condition: NonInferiority, run: Evaluation, baseline: Evaluation | str, least: int) -> _Measured | str:
    """(difference + 1)/2 lies in [0, 1], and is above (1 - margin)/2 on average when the candidate is not inferior."""
    if isinstance(baseline, str):
        return baseline
    if different := [difference.reason for difference in differences_of(baseline, run)]:
        return f"{baseline.model_version} does not compare: {'; '.join(different)}"
    first, second = baseline.result, run.result
    if first is None or second is None:
        return "an evaluation has no result"
    if problem := incomparable(condition.metric, first, second):
        return problem
    indices = sorted({s.index for s in first.samples} | {s.index for s in second.samples})
    sign = 1.0 if condition.higher_is_better else -1.0
    ours, missing = _column(second, condition.metric, indices, sign < 0)
    theirs, theirs_missing = _column(first, condition.metric, indices, sign > 0)
    if problem := _too_little(condition.metric, ours, missing, least) or _too_little(
        condition.metric, theirs, theirs_missing, least
    ):
        return problem
    note = f"; {missing + theirs_missing} missing scores count against the model" if missing + theirs_missing else ""
    halves = (sign * (ours - theirs) + 1) / 2
    return _Measured(
        scores=halves, against=(1 - condition.margin) / 2, slope=2 * sign, offset=-sign,
        note=f" against {baseline.model_name} {baseline.model_version}{note}",
    )  # fmt: skip


def _column(result: Result, metric: MetricName, indices: list[int], missing_is_one: bool) -> tuple[Scores, int]:
    """The scores of these samples, those missing as 0 or 1, and how many are missing."""
    known = {sample.index: sample.scores[metric] for sample in result.samples if metric in sample.scores}
    filled = np.array([known.get(index, float(missing_is_one)) for index in indices], dtype=float)
    return filled, len(set(indices) - known.keys())


def _too_little(metric: str, scores: Scores, missing: int, least: int) -> str | None:
    if missing == len(scores):
        return f"{metric} was not measured"
    if len(scores) - missing < least:
        return f"{len(scores) - missing} samples have a score of {metric}, and the gate needs {least}"
    if not np.all((scores >= 0) & (scores <= 1)):  # NaN as well
        return f"{metric} has scores outside 0 to 1"
    return None


def _judged(
    condition: AnyCondition, found: _Measured, p: float, level: float, alpha: float
) -> ConditionVerdict:
    outcome = Outcome.PASSED if p <= alpha else Outcome.FAILED
    figure = found.slope * float(found.scores.mean()) + found.offset
    bound = found.slope * betting.lower_bound(found.scores, level) + found.offset
    verb = "shown" if outcome is Outcome.PASSED else "not shown"
    side = "at least" if found.slope > 0 else "at most"
    what = "difference" if isinstance(condition, NonInferiority) else "mean"
    reason = (
        f"{words(condition)}: {verb}; {what} {figure:.4f}, surely {side} {bound:.4f}, n {len(found.scores)}, "
        f"adjusted p {p:.3g} with {alpha:.3g} allowed at this look{found.note}"
    )
    return ConditionVerdict(
        condition=condition, outcome=outcome, figure=figure, bound=bound, n=len(found.scores), p=p, reason=reason
    )


def _unknown(condition: AnyCondition, why: str) -> ConditionVerdict:
    reason = f"{words(condition)}: cannot be judged: {why}"
    return ConditionVerdict(condition=condition, outcome=Outcome.UNKNOWN, reason=reason)
