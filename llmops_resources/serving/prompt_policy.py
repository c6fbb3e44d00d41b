"""The prompt of an endpoint: the approved version that its calls are made with while its route has none bound to it."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from llmops_resources.catalog import approvals
from llmops_resources.catalog.deletion import Blocker
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound, ValidationFailed, field_problem
from llmops_resources.serving.tables import EndpointRow

#: Its name in an endpoint's configuration.
FIELD: Final = "promptPolicyId"


def check(tx: Transaction, config: Mapping[str, Any]) -> None:
    """Raises ValidationFailed for what is no prompt version, Conflict for one that is not approved."""
    if (prompt_id := config.get(FIELD)) is None:
        return
    try:
        approvals.approved_prompt(tx, prompt_id)
    except NotFound:
        remedy = "Give the id of an approved prompt version; GET …/prompts/templates?status=approved lists them."
        problem = field_problem(FIELD, f"there is no prompt version {prompt_id}", remedy)
        raise ValidationFailed("the endpoint cannot have this prompt", details=[problem]) from None


def is_live(tx: Transaction, config: Mapping[str, Any]) -> bool:
    """Whether a configuration's prompt is approved now, or there is none."""
    try:
        check(tx, config)
    except (Conflict, ValidationFailed):
        return False
    return True


def blockers(tx: Transaction, prompt_id: UUID) -> list[Blocker]:
    """The live endpoints whose calls are made with a prompt version."""
    query = select(EndpointRow).where(EndpointRow.deleted_at.is_(None))
    query = query.where(EndpointRow.config[FIELD].astext == str(prompt_id)).order_by(EndpointRow.created_at)
    return [
        Blocker(
            type="endpoint",
            id=row.id,
            name=f"{row.environment}/{row.route}",
            reason="has it as its promptPolicyId",
            remedy="Give the endpoint another promptPolicyId, or none.",
        )
        for row in tx.session.scalars(query)
    ]
