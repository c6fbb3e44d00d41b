"""The base of request bodies: what a stranger may send. camelCase and snake_case are both understood."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from llmops_resources.catalog.lifecycle import Decision, Status
from llmops_resources.governance.permissions import Permission


class Body(BaseModel):
    """A request body; unknown fields are refused, so that a misspelled one is not silently lost."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, populate_by_name=True, protected_namespaces=()
    )


def _status(value: object) -> object:
    return "under_review" if value == "pending_review" else value


#: A lifecycle state; `pending_review` is understood as `under_review`.
StatusInput = Annotated[Status, BeforeValidator(_status)]


class StatusChange(Body):
    """The specification's PATCH …/status."""

    status: StatusInput
    notes: str = ""


class DecisionBody(Body):
    """A reviewer's decision; `digest` is the content they looked at."""

    decision: Decision
    notes: str = ""
    digest: str | None = None


def permission_to_move(to: Status, writer: Permission) -> Permission:
    """Reviewers decide; whoever writes entries may submit, reopen and deprecate them."""
    return Permission.VERSION_APPROVE if to in {Status.APPROVED, Status.REJECTED} else writer
