"""Several models on one benchmark under one suite: requested together, or not at all."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

from llmops_resources.catalog import approvals
from llmops_resources.database import Transaction
from llmops_resources.errors import FieldProblem, PlatformError, ValidationFailed, field_problem
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.evaluation.suite import Suite
from llmops_resources.evaluation.through import AT_ONCE, Through
from llmops_resources.values import Value

MOST_MODELS: Final = 20


class EvaluationBatch(Value):
    """The runs of a batch, in the order of the models; each run carries the batch's id."""

    id: UUID
    runs: tuple[Evaluation, ...]


def request(
    tx: Transaction, *, model_ids: Sequence[UUID], dataset_id: UUID, suite: Suite, at_once: int = AT_ONCE
) -> EvaluationBatch:
    """Request an evaluation of every model, external ones with so many questions `at_once`.

    Raises ValidationFailed, which names every bad item, before any row.
    """
    if problems := _problems(tx, model_ids, dataset_id):
        raise ValidationFailed("no evaluation of the batch was requested", details=problems)
    batch_id = uuid4()
    made = (
        runs.request(
            tx, model_id=model_id, dataset_id=dataset_id, suite=suite, batch_id=batch_id,
            through=Through(at_once=at_once),
        )
        for model_id in model_ids
    )  # fmt: skip
    return EvaluationBatch(id=batch_id, runs=tuple(made))


def _problems(tx: Transaction, model_ids: Sequence[UUID], dataset_id: UUID) -> list[FieldProblem]:
    found: list[FieldProblem] = []
    if not 1 <= len(model_ids) <= MOST_MODELS:
        found.append(field_problem("modelIds", f"{len(model_ids)} models", f"Name 1 to {MOST_MODELS} models."))
        return found
    try:
        approvals.approved_dataset(tx, dataset_id)
    except PlatformError as error:
        found.append(field_problem("datasetId", error.message, error.remedy))
    for at, model_id in enumerate(model_ids):
        if model_id in model_ids[:at]:
            found.append(field_problem(f"modelIds.{at}", f"{model_id} is named twice", "Name each model once."))
            continue
        try:
            runs.evaluable(tx, model_id)
        except PlatformError as error:
            found.append(field_problem(f"modelIds.{at}", error.message, error.remedy))
    return found
