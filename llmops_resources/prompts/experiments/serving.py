"""What the gateway has to know of the experiments that run: for one, whom to give what."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.prompts.experiments.library import approved
from llmops_resources.prompts.experiments.plan import Plan, State
from llmops_resources.prompts.tables import AllocationRow, ExperimentRow


@dataclass(frozen=True)
class Running:
    """An experiment whose every variant is approved at this moment."""

    id: UUID
    route: str
    salt: bytes
    allocation: int
    shares: dict[str, float]
    prompts: dict[str, UUID]


def running(tx: Transaction) -> list[Running]:
    """The experiments that decide now; not one with a variant that lost its approval: its users get the binding."""
    found = []
    for row in tx.session.scalars(select(ExperimentRow).filter_by(state=State.RUNNING)):
        plan = Plan.model_validate(row.plan)
        if approved(tx, plan):
            held = tx.session.get_one(AllocationRow, (row.id, row.allocation))
            prompts = {variant.name: variant.prompt_id for variant in plan.variants}
            found.append(Running(row.id, row.route, row.salt, row.allocation, dict(held.shares), prompts))
    return found
