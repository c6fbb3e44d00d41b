"""The base of request bodies: what a stranger may send. camelCase and snake_case are both understood."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from llmops_resources.catalog.lifecycle import Decision, Status
from llmops_resources.governance.permissions import Permission

MAX_DEPTH = 32
_WHOLE = 2**63


class Body(BaseModel):
    """A request body; unknown fields are refused, so that a misspelled one is not silently lost.

    So is what no database keeps as it is: NUL characters, lone surrogates, numbers beyond 64 bits, NaN, and values
    nested deeper than MAX_DEPTH.
    """

    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, populate_by_name=True, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _can_be_kept(cls, given: Any) -> Any:
        if (problem := _unkeepable(given, "", MAX_DEPTH)) is not None:
            raise ValueError(problem)
        return given


def _unkeepable(value: Any, place: str, depth: int) -> str | None:
    """What of a JSON value cannot be kept, and where; None when all of it can."""
    where = f" (at {place})" if place else ""
    if isinstance(value, str):
        broken = "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
        return f"text may hold neither NUL characters nor lone surrogates{where}" if broken else None
    if isinstance(value, int) and not -_WHOLE <= value < _WHOLE:
        return f"a whole number must fit into 64 bits{where}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"a number must be finite{where}"
    if not isinstance(value, dict | list):
        return None
    if depth == 0:
        return f"values may be nested at most {MAX_DEPTH} deep"
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    found = (
        _unkeepable(name, place, depth) or _unkeepable(part, f"{place}.{name}".lstrip(".")[:200], depth - 1)
        for name, part in parts
    )
    return next((problem for problem in found if problem), None)


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
