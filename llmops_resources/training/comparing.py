"""Experiments side by side: where their parameters differ, and what each came to."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

from llmops_resources.database import Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.training import finding, jobs
from llmops_resources.training.curves import Curve, curves
from llmops_resources.training.finding import ExperimentSummary
from llmops_resources.training.jobs import Job
from llmops_resources.values import Value

MOST: Final = 10  # experiments at once; more lines cannot be told apart
NAMES: Final = 50  # metrics at once
_LOWER: Final = re.compile(r"loss|perplexity|error|(^|[_/.])(mae|mse|rmse|wer|cer|ppl)($|[_/.])")
_HIGHER: Final = re.compile(
    r"accuracy|precision|recall|bleu|rouge|exact_match|tokens_per_second|throughput|(^|[_/.])(f1|auc|em|mfu|score)($|[_/.])"
)


class Parameter(Value):
    """A parameter that is not the same in all experiments; `values` in their order, None where it is not set."""

    name: str
    values: tuple[str | int | float | bool | None, ...]


class Compared(Value):
    """A metric of the experiments that recorded it. `better` says which way is good, as far as its name tells."""

    name: str
    unit: str | None
    better: Literal["lower", "higher"] | None
    curves: tuple[Curve, ...]


class ExperimentComparison(Value):
    """Experiments in the order asked for. `left_out`: metrics beyond the first 50, which were not asked for by name."""

    experiments: tuple[ExperimentSummary, ...]
    parameters: tuple[Parameter, ...]
    metrics: tuple[Compared, ...]
    left_out: tuple[str, ...]


def compare(tx: Transaction, job_ids: Sequence[UUID], names: Sequence[str] = ()) -> ExperimentComparison:
    """Compare up to 10 experiments, by all their metrics or by `names`.

    Raises NotFound for an unknown job, ValidationFailed for none, too many, or one twice.
    """
    if not 1 <= len(job_ids) <= MOST or len(set(job_ids)) < len(job_ids):
        problem = field_problem("ids", f"has {len(job_ids)} jobs", f"Give 1 to {MOST} different ids of training jobs.")
        raise ValidationFailed("these cannot be compared", details=[problem])
    found = finding.named(tx, job_ids)
    units = {value.name: value.unit for experiment in found for value in experiment.metrics}
    wanted = sorted(set(names) & set(units) if names else units, key=_rank)
    shown, left_out = wanted[:NAMES], wanted[NAMES:]
    drawn = curves(tx, job_ids, shown)
    return ExperimentComparison(
        experiments=tuple(found),
        parameters=differing([_parameters(jobs.get(tx, job_id)) for job_id in job_ids]),
        metrics=tuple(
            Compared(name=name, unit=units[name], better=better(name), curves=tuple(drawn[name]))
            for name in shown
            if name in drawn
        ),
        left_out=tuple(left_out),
    )


def better(name: str) -> Literal["lower", "higher"] | None:
    """Which way a metric of this name is good; None where the name does not tell."""
    return "lower" if _LOWER.search(name.lower()) else "higher" if _HIGHER.search(name.lower()) else None


def differing(all_parameters: Sequence[Mapping[str, Any]]) -> tuple[Parameter, ...]:
    """The parameters that are not the same everywhere, by name; of a single experiment all of them."""
    names = sorted({name for parameters in all_parameters for name in parameters})
    rows = [Parameter(name=name, values=tuple(p.get(name) for p in all_parameters)) for name in names]
    return tuple(row for row in rows if len(rows[0].values) == 1 or len({repr(value) for value in row.values}) > 1)


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested settings by dotted name; a list is one leaf, written as text."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str | int | float | bool | None) else str(value)


def _parameters(job: Job) -> dict[str, Any]:
    """What was chosen for a job: its recipe, its data and base model, and where it ran."""
    chosen = {"datasetDigest": job.dataset_digest, "modelId": str(job.model_id) if job.model_id else None,
              "device": job.resource_decision.device, "pool": job.resource_decision.pool,
              "units": job.resource_decision.units}  # fmt: skip
    return dict(flat(job.recipe.json_dict())) | chosen


def _rank(name: str) -> tuple[int, str]:
    """The loss and its kin first, and the machine last."""
    if name.startswith(finding.SYSTEM):
        return 3, name
    return (0 if name == "loss" else 1 if "loss" in name else 2), name
