"""From what judges answered to figures, purely. What is not judged is no zero: it is counted and stays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from llmops_resources.evaluation import agreement
from llmops_resources.evaluation.estimates import CONFIDENCE, RESAMPLES, bootstrap
from llmops_resources.evaluation.judge_answers import Unreadable, Verdict
from llmops_resources.evaluation.judge_consensus import Consensus, consensus
from llmops_resources.evaluation.judge_licences import Bias, bias
from llmops_resources.evaluation.judge_suite import Judge, JudgeSuite, Unit
from llmops_resources.evaluation.judged import Judged, JudgedUnit, JudgeReport, UnitJudgement
from llmops_resources.evaluation.review_results import Coefficient
from llmops_resources.evaluation.review_rubrics import Criterion, CriterionKind
from llmops_resources.evaluation.runs import Counts, Result, Sample
from llmops_resources.evaluation.scores import Score

TIE: Final = 0.5


@dataclass(frozen=True)
class Silent:
    """An answer that never came, and why."""

    why: str


@dataclass(frozen=True)
class Heard:
    """All that one judge said, by unit and whether the second answer was shown first; and what it cost, if known."""

    answers: Mapping[tuple[int, bool], Verdict | Unreadable | Silent]
    repaired: int
    input_tokens: int | None
    output_tokens: int | None
    cost: Decimal | None = None
    currency: str | None = None


def result(suite: JudgeSuite, units: Sequence[Unit], heard: Sequence[Heard], protocol: Mapping[str, Any]) -> Result:
    """The figures of each criterion over the consensus of the judges; `heard` is in the order of the judges."""
    said = [[_of_unit(suite, at, unit, each) for unit in units] for at, each in enumerate(heard)]
    found = {c.name: consensus(_table(c, said), c.measured) for c in suite.rubric.criteria}
    estimates = {name: bootstrap(each.values, suite.seed) for name, each in found.items()}
    samples = tuple(_sample(unit, at, found) for at, unit in enumerate(units))
    scored = sum(bool(sample.scores) for sample in samples)
    return Result(
        metrics={name: Score(**each.json_dict()) for name, each in estimates.items() if each is not None},
        protocol={**_protocol(suite), **protocol},
        samples=samples,
        counts=Counts(total=len(units), scored=scored, unscored=len(units) - scored),
        judged=_judged(suite, units, heard, said, found),
    )


def _judged(
    suite: JudgeSuite,
    units: Sequence[Unit],
    heard: Sequence[Heard],
    said: list[list[UnitJudgement]],
    found: Mapping[str, Consensus],
) -> Judged:
    reports = [
        _report(suite, judge, units, heard[at], said[at], {name: each.reliability[at] for name, each in found.items()})
        for at, judge in enumerate(suite.judges)
    ]
    return Judged(
        rubric=suite.rubric,
        rubric_digest=suite.rubric.digest,
        suite_digest=suite.digest,
        judges=tuple(reports),
        methods={name: each.method for name, each in found.items()},
        agreement={c.name: _agreement(c, said) for c in suite.rubric.criteria} if len(said) > 1 else {},
        units=tuple(
            JudgedUnit(index=unit.index, judgements=tuple(each[at] for each in said)) for at, unit in enumerate(units)
        ),
    )


def _of_unit(suite: JudgeSuite, judge: int, unit: Unit, heard: Heard) -> UnitJudgement:
    answers = [heard.answers[unit.index, swapped] for swapped in orders(suite)]
    for answer in answers:
        if not isinstance(answer, Verdict):
            return UnitJudgement(judge=judge, values={}, problem=answer.why)
    verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
    first = verdicts[0]
    sure = [verdict.confidence for verdict in verdicts if verdict.confidence is not None]
    steady = None if len(verdicts) == 1 else all(verdict.values == first.values for verdict in verdicts)
    values = {
        name: value if all(verdict.values[name] == value for verdict in verdicts) else TIE
        for name, value in first.values.items()
    }
    return UnitJudgement(
        judge=judge, values=values, reason=first.reason, confidence=min(sure, default=None), steady=steady
    )


def orders(suite: JudgeSuite) -> tuple[bool, ...]:
    """Whether the second answer is shown first, for each time a unit is asked about."""
    return (False, True) if suite.rubric.pairwise else (False,)


def _table(criterion: Criterion, said: list[list[UnitJudgement]]) -> Any:
    rows = [[each.values.get(criterion.name, float("nan")) for each in of_judge] for of_judge in said]
    return np.array(rows, dtype=float).reshape(len(said), -1)


def _sample(unit: Unit, at: int, found: Mapping[str, Consensus]) -> Sample:
    values = {name: each.values[at] for name, each in found.items()}
    return Sample(
        index=unit.index,
        input=unit.input,
        expected=unit.expected,
        actual=unit.answers[0],
        scores={name: value for name, value in values.items() if value is not None},
    )


def _report(
    suite: JudgeSuite,
    judge: Judge,
    units: Sequence[Unit],
    heard: Heard,
    said: Sequence[UnitJudgement],
    reliability: dict[str, float | None],
) -> JudgeReport:
    answers = list(heard.answers.values())
    return JudgeReport(
        judge=judge,
        asked=len(answers),
        scored=sum(bool(each.values) for each in said),
        unreadable=sum(isinstance(answer, Unreadable) for answer in answers),
        silent=sum(isinstance(answer, Silent) for answer in answers),
        repaired=heard.repaired,
        input_tokens=heard.input_tokens,
        output_tokens=heard.output_tokens,
        cost=heard.cost,
        currency=heard.currency,
        bias={c.name: _bias(c, units, heard, said) for c in suite.rubric.criteria},
        reliability=reliability,
    )


def _bias(criterion: Criterion, units: Sequence[Unit], heard: Heard, said: Sequence[UnitJudgement]) -> Bias:
    if criterion.kind is not CriterionKind.PAIRWISE:
        lengths = [len(unit.answers[0]) for unit in units]
        return Bias(length=bias([each.values.get(criterion.name) for each in said], lengths))
    firsts = [
        (verdict.values[criterion.name] == 1.0) != swapped
        for (_, swapped), verdict in heard.answers.items()
        if isinstance(verdict, Verdict) and verdict.values[criterion.name] != TIE
    ]
    steady = [each.steady for each in said if each.steady is not None]
    return Bias(
        first_place=sum(firsts) / len(firsts) if firsts else None,
        steady=sum(steady) / len(steady) if steady else None,
    )


def _agreement(criterion: Criterion, said: list[list[UnitJudgement]]) -> tuple[Coefficient, ...]:
    alpha = agreement.krippendorff_alpha(_table(criterion, said), criterion.measured)
    why = "" if alpha else "no unit has two judgements, or all of them are the same"
    return (Coefficient(name="krippendorff_alpha", estimate=alpha, why_not=why),)


def _protocol(suite: JudgeSuite) -> dict[str, Any]:
    return {
        "asked": "a judgement in JSON, each unit alone" + (", in both orders" if suite.rubric.pairwise else ""),
        "decoding": {"method": "greedy", "repairs": suite.repairs},
        "sample": {"size": suite.sample_size, "seed": suite.seed},
        "rubric": suite.rubric.digest,
        "judging": suite.digest,
        "interval": {
            "method": "percentile bootstrap, PCG64",
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": suite.seed,
        },
    }
