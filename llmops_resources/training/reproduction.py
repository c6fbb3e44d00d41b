"""Whether a training run that repeats an earlier one gave the same weights, and if not, what was different."""

from typing import Any, Final

from sqlalchemy import select

from llmops_resources.blobs import Manifest
from llmops_resources.catalog import versions
from llmops_resources.database import Transaction
from llmops_resources.errors import NotFound
from llmops_resources.training.recipe import Recipe
from llmops_resources.training.tables import JobRow
from llmops_resources.values import Value
from llmops_resources.work import WorkStatus

#: Of a run's summary: what may change the bits although recipe and data are the same.
CIRCUMSTANCES: Final = ("code_digest", "versions", "device", "threads", "precision")
_LOOKED_AT: Final = 50


class Reproduction(Value):
    """How the weights of a model compare with those of the last one made by the same recipe from the same bytes.

    `differs`: the circumstances that were not the same, by which other weights may be explained.
    """

    model_id: str
    version: str
    identical: bool
    differs: tuple[str, ...]


def compare(
    tx: Transaction, row: JobRow, manifest: Manifest, summary: dict[str, Any]
) -> Reproduction | None:
    """The verdict on a job's new weights; None when nothing like it was made before, or it is gone."""
    query = (
        select(JobRow)
        .where(
            JobRow.id != row.id,
            JobRow.status == WorkStatus.SUCCEEDED,
            JobRow.dataset_digest == row.dataset_digest,
            JobRow.model_digest.is_not_distinct_from(row.model_digest),
        )
        .order_by(JobRow.finished_at.desc())
        .limit(_LOOKED_AT)
    )
    recipe = Recipe.model_validate(row.recipe)
    for earlier in tx.session.scalars(query):
        if Recipe.model_validate(earlier.recipe) != recipe:
            continue
        try:
            before = versions.get(tx, earlier.output_version_id)
        except NotFound:
            continue
        then = earlier.summary or {}
        return Reproduction(
            model_id=str(before.id),
            version=before.version,
            identical=_weights(before.manifest) == _weights(manifest),
            differs=tuple(name for name in CIRCUMSTANCES if then.get(name) != summary.get(name)),
        )
    return None


def _weights(manifest: Manifest) -> dict[str, str]:
    return {file.path: file.sha256 for file in manifest.files if file.path.endswith(".safetensors")}
