"""What a gate may ask of a model: a bound of a scorer's or a judge's mean, or not to be worse than a baseline."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, model_validator

from llmops_resources.evaluation.judge_licences import Terms
from llmops_resources.evaluation.suite import MetricName
from llmops_resources.values import Value

#: Means of scores in [0, 1], one a sample; figures of all answers together have nothing to pair or to bet on.
JUDGED: Final = (
    MetricName.EXACT_MATCH, MetricName.F1, MetricName.ACCURACY, MetricName.ROUGE_1, MetricName.ROUGE_2,
    MetricName.ROUGE_L, MetricName.REFUSAL_RATE,
)  # fmt: skip
CURRENT: Final = "current"
Share = Annotated[float, Field(gt=0, lt=1)]
Label = Annotated[str, Field(min_length=1, max_length=128)]


class Threshold(Value):
    """The mean is at least, or at most, a bound."""

    kind: Literal["threshold"] = "threshold"
    metric: MetricName
    at_least: Share | None = None
    at_most: Share | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "Threshold":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give either atLeast or atMost")
        _check_metric(self.metric)
        return self


class NonInferiority(Value):
    """The mean is worse than the baseline's by less than `margin`, over the same samples.

    `baseline`: `current`, the approved version in use when the verdict is made, or a version of the same model.
    """

    kind: Literal["non_inferiority"] = "non_inferiority"
    metric: MetricName
    margin: Annotated[float, Field(ge=0, lt=1)]
    baseline: Label = CURRENT
    higher_is_better: bool = True

    @model_validator(mode="after")
    def _judged(self) -> "NonInferiority":
        _check_metric(self.metric)
        return self


class JudgeThreshold(Value):
    """The mean of what a judge says of single answers is at least, or at most, a bound on the criterion's own scale.

    `rubric` is the digest of what is judged by; `judge_id` the catalog model that judges, missing for what the judges
    of a run say together. Their scores count only while they are licensed on these terms.
    """

    kind: Literal["judge"] = "judge"
    rubric: Annotated[str, Field(min_length=1, max_length=80)]
    criterion: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    judge_id: UUID | None = None
    at_least: float | None = None
    at_most: float | None = None
    terms: Terms = Terms()

    @model_validator(mode="after")
    def _one_bound(self) -> "JudgeThreshold":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give either atLeast or atMost")
        return self

    @property
    def bound(self) -> float:
        """Whichever of the two was given."""
        return self.at_least if self.at_least is not None else self.at_most or 0.0


AnyCondition = Threshold | NonInferiority | JudgeThreshold
Condition = Annotated[AnyCondition, Field(discriminator="kind")]


def check_together(conditions: Sequence[AnyCondition]) -> None:
    """Whether one run can meet all conditions. Raises ValueError."""
    by_judges = [condition for condition in conditions if isinstance(condition, JudgeThreshold)]
    if by_judges and len(by_judges) < len(conditions):
        raise ValueError("scorers and judges score in runs of their own: declare a gate for each")
    if len({condition.rubric for condition in by_judges}) > 1:
        raise ValueError("a run judges by one rubric: declare a gate for each")


def words(condition: AnyCondition) -> str:
    """The condition as people read it."""
    if isinstance(condition, NonInferiority):
        return f"{condition.metric} worse than {condition.baseline} by less than {condition.margin:g}"
    if isinstance(condition, JudgeThreshold):
        who = f"judge {condition.judge_id}" if condition.judge_id else "the judges together"
        metric = f"{condition.criterion} by {who}"
    else:
        metric = condition.metric.value
    return f"{metric} at least {condition.at_least:g}" if condition.at_least is not None else (
        f"{metric} at most {condition.at_most:g}"
    )


def _check_metric(metric: MetricName) -> None:
    if metric not in JUDGED:
        raise ValueError(f"{metric} has no bounded score of one sample; choose among {', '.join(JUDGED)}")
