"""Who may not review whom: nobody judges a model they made, trained or submitted, or a review they set up."""

from uuid import UUID

from llmops_resources.catalog import evidence, versions
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.database import Transaction
from llmops_resources.errors import Forbidden
from llmops_resources.evaluation.tables import EvaluationRow, ReviewRow
from llmops_resources.governance import audit


def interests(tx: Transaction, row: ReviewRow) -> dict[str, str]:
    """Everybody with an interest in the outcome, and what it is. Asked anew each time: a submission may follow."""
    found: dict[str, str] = {}
    for evaluation_id in filter(None, (row.evaluation_id, row.other_id)):
        found |= _of_model(tx, tx.session.get_one(EvaluationRow, evaluation_id).model_id)
    return found


def check(tx: Transaction, row: ReviewRow, person: str) -> str:
    """Why the rule is waived, "" when it is kept. Raises Forbidden when the person may not judge in this review."""
    reason = interests(tx, row).get(person)
    if reason is None and person == row.created_by:
        reason = "set this review up and knows whose answers they are"
    if reason is None:
        return ""
    if tx.single_user:
        return f"SINGLE_USER=true: {person} {reason}"
    raise Forbidden(
        f"{person} may not judge here: {person} {reason}", remedy="Have somebody review who has no part in the model."
    )


def _of_model(tx: Transaction, model_id: UUID) -> dict[str, str]:
    model = versions.remembered(tx, model_id)
    people = {model.created_by: "created the model"}
    if model.submitted_by:
        people[model.submitted_by] = "submitted the model for approval"
    for made in evidence.of_version(tx, model_id, EvidenceKind.TRAINING):
        submitted = audit.search(tx, action="training.submit", resource_id=made.source_id, resource_type="training_job")
        for entry in submitted:
            people[entry.actor_id] = "trained the model"
    return people
