"""Two evaluations side by side: whether they compare at all, and by how much they differ."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

from llmops_resources.database import Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.evaluation import run_lists, runs
from llmops_resources.evaluation.estimates import Estimate, bootstrap
from llmops_resources.evaluation.runs import Evaluation, Result
from llmops_resources.evaluation.scores import Score
from llmops_resources.evaluation.suite import LOSSES, MetricName
from llmops_resources.values import Value

#: Parts of the protocol by which the whole figures differ; chat template, versions and seconds are the model's affair.
SHARED: Final = ("asked", "columns", "decoding", "sample", "tokenization", "precision")
MOST_RUNS: Final = 20


class Difference(Value):
    """A field in which two runs differ, with what each has."""

    field: str
    first: Any
    second: Any
    reason: str


class MetricComparison(Value):
    """One metric of both runs.

    `difference` is second minus first over the samples that both scored, with its paired 95 % bootstrap interval.
    It is missing, and `reason` says why, where the metric does not compare or has no figure of one sample.
    """

    metric: str
    first: Score | None
    second: Score | None
    difference: Estimate | None
    reason: str | None


class EvaluationComparison(Value):
    """`comparable` is false where `differences` says why; then no metric is compared."""

    first: Evaluation
    second: Evaluation
    comparable: bool
    differences: tuple[Difference, ...]
    metrics: tuple[MetricComparison, ...]


def compare(tx: Transaction, run_ids: Sequence[UUID]) -> list[EvaluationComparison]:
    """Each of the runs beside the first, which is the baseline.

    Raises:
        NotFound: there is no such run.
        ValidationFailed: fewer than two or more than MOST_RUNS runs, or one twice.
    """
    if not 2 <= len(run_ids) <= MOST_RUNS or len(set(run_ids)) < len(run_ids):
        remedy = f"Name 2 to {MOST_RUNS} evaluations, each once, the baseline first."
        problem = field_problem("runs", f"{len(run_ids)} runs", remedy)
        raise ValidationFailed("these evaluations cannot be compared", remedy=remedy, details=[problem])
    baseline, *others = (runs.get(tx, run_id) for run_id in run_ids)
    return [beside(baseline, other) for other in others]


def trend(tx: Transaction, *, model_name: str, benchmark_name: str) -> list[EvaluationComparison]:
    """The finished evaluations of a model's versions on a benchmark, oldest first, each beside the one before."""
    found = run_lists.of_names(tx, model_name, benchmark_name)
    return [beside(before, after) for before, after in pairwise(found)]


def beside(first: Evaluation, second: Evaluation) -> EvaluationComparison:
    """The second run measured against the first."""
    differences = tuple(differences_of(first, second))
    metrics: tuple[MetricComparison, ...] = ()
    if not differences and first.result is not None and second.result is not None:
        names = [name for name in first.result.metrics if name in second.result.metrics]
        metrics = tuple(_metric(name, first.result, second.result, first.suite.seed) for name in names)
    return EvaluationComparison(
        first=first.model_copy(update={"result": _without_samples(first)}),
        second=second.model_copy(update={"result": _without_samples(second)}),
        comparable=not differences,
        differences=differences,
        metrics=metrics,
    )


def differences_of(first: Evaluation, second: Evaluation) -> Iterable[Difference]:
    """Why two runs do not compare. What one of them has not recorded is not known to be the same."""
    for name, run in (("first", first), ("second", second)):
        if run.result is None:
            status = run.state.status.value
            yield Difference(field="result", first=None, second=None, reason=f"the {name} run is {status}, not done")
            return
    if first.dataset_digest != second.dataset_digest:
        yield Difference(
            field="dataset",
            first=f"{first.dataset_name} {first.dataset_version}",
            second=f"{second.dataset_name} {second.dataset_version}",
            reason="the benchmarks have other contents",
        )
    one, two = _protocol(first), _protocol(second)
    for name in SHARED:
        left, right = one.get(name), two.get(name)
        if name not in one or name not in two:
            reason = f"{name} was not recorded by both: evaluate again"
            yield Difference(field=name, first=left, second=right, reason=reason)
        elif left != right:
            yield Difference(field=name, first=left, second=right, reason=f"the protocols differ in {name}")


def _metric(name: str, first: Result, second: Result, seed: int) -> MetricComparison:
    reason = incomparable(name, first, second)
    difference = None
    if reason is None:
        difference = paired(_scores(first, name), _scores(second, name), seed)
        reason = None if difference else "no sample has a score in both runs"
    return MetricComparison(
        metric=name, first=first.metrics[name], second=second.metrics[name], difference=difference, reason=reason
    )


def incomparable(name: str, first: Result, second: Result) -> str | None:
    """Why this metric does not compare although the runs do."""
    one, two = first.protocol, second.protocol
    scorers = [protocol.get("scorers", {}).get(name) for protocol in (one, two)]
    if None in scorers or scorers[0] != scorers[1]:
        return f"scored in two ways: {scorers[0]} and {scorers[1]}"
    cuts = [protocol.get("tokenizer") for protocol in (one, two)]
    if name == MetricName.PERPLEXITY and (None in cuts or cuts[0] != cuts[1]):
        return "the models cut text into other tokens; compare byte_perplexity"
    if name in LOSSES and one.get("window") != two.get("window"):
        return "the models read through windows of other lengths"
    per_sample = any(name in sample.scores for result in (first, second) for sample in result.samples)
    if name in LOSSES or name == MetricName.NER_F1 or not per_sample:
        return "a figure of all answers together: compare the two intervals"
    return None


def paired(first: Mapping[int, float], second: Mapping[int, float], seed: int = 0) -> Estimate | None:
    """The mean difference, second minus first, over the samples in both, with its interval over resampled pairs."""
    both = sorted(first.keys() & second.keys())
    return bootstrap([second[index] - first[index] for index in both], seed)


def _scores(result: Result, name: str) -> dict[int, float]:
    return {sample.index: sample.scores[name] for sample in result.samples if name in sample.scores}


def _protocol(run: Evaluation) -> dict[str, Any]:
    return run.result.protocol if run.result else {}


def _without_samples(run: Evaluation) -> Result | None:
    return run.result.model_copy(update={"samples": ()}) if run.result else None
