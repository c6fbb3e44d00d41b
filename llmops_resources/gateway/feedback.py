"""Feedback: what a user said of one answer, once. It counts in the experiment that the answer was part of."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, InvalidInput, NotFound, ValidationFailed, field_problem
from llmops_resources.gateway.tables import FeedbackRow, UsageRow
from llmops_resources.governance.permissions import Permission, require
from llmops_resources.prompts.experiments import library, observations
from llmops_resources.values import Value, utc_now

_REMEDY = 'Send {"exchangeId": "…", "thumbs": "up"}, or "down", or a "score" from 0 to 1 instead of thumbs.'


class FeedbackKind(StrEnum):
    THUMBS = "thumbs"
    SCORE = "score"


class Said(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a client sends: of which exchange (the header x-llmops-exchange of its answer), and thumbs or a score."""

    exchange_id: UUID
    thumbs: Literal["up", "down"] | None = None
    score: Annotated[float, Meta(ge=0, le=1)] | None = None

    @property
    def kind(self) -> FeedbackKind:
        return FeedbackKind.SCORE if self.thumbs is None else FeedbackKind.THUMBS

    @property
    def value(self) -> float:
        """From 0 to 1; a thumb is the one or the other."""
        return (self.score or 0.0) if self.thumbs is None else float(self.thumbs == "up")


class Feedback(Value):
    """What was kept. In an experiment only a user's first rating counts; `value` is from 0 to 1."""

    exchange_id: UUID
    route: str
    kind: FeedbackKind
    value: float
    prompt_id: UUID | None
    experiment_id: UUID | None
    given_at: datetime


def read(body: bytes) -> Said:
    """The feedback in a body. Raises InvalidInput for what is no JSON, ValidationFailed for what is no feedback."""
    try:
        said = msgspec.json.decode(body, type=Said)
    except msgspec.ValidationError as error:
        raise _wrong("body", str(error).replace("`", "")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("the body is not JSON", remedy=_REMEDY) from error
    return check(said)


def check(said: Said) -> Said:
    """Raises ValidationFailed unless there is either a thumb or a score."""
    if (said.thumbs is None) == (said.score is None):
        raise _wrong("thumbs", "either thumbs or a score is needed, and not both")
    return said


def give(tx: Transaction, said: Said, *, experiment_id: UUID | None = None) -> Feedback:
    """Keep what the caller says of one of their own exchanges; the same again changes nothing.

    Raises Forbidden, NotFound for an exchange that is not booked yet, not the caller's or not of `experiment_id`,
    ValidationFailed for a kind that the experiment does not measure, Conflict when something else was said before.
    """
    require(tx.actor, Permission.CHAT)
    call = tx.session.get(UsageRow, said.exchange_id)
    if call is None or call.actor_id != tx.actor.id or experiment_id not in {None, call.experiment_id}:
        raise NotFound(
            f"there is no exchange {said.exchange_id} of yours",
            remedy="Send the header x-llmops-exchange of its answer; a call is known a second after it ended.",
        )
    if call.experiment_id is not None:
        metric = library.get(tx, call.experiment_id).plan.metric
        if metric.value != said.kind.value:
            raise _wrong(said.kind, f"this experiment asks for {metric}")
    given = Feedback(
        exchange_id=call.id, route=call.route, kind=said.kind, value=said.value, prompt_id=call.prompt_id,
        experiment_id=call.experiment_id, given_at=utc_now(),
    )  # fmt: skip
    fresh = insert(FeedbackRow).values(**given.model_dump(), variant=call.variant, given_by=tx.actor.id)
    if tx.session.execute(fresh.on_conflict_do_nothing().returning(FeedbackRow.exchange_id)).first() is None:
        return _said_before(tx, given)
    if call.experiment_id is not None and call.subject is not None and call.variant is not None:
        observations.rate(tx, call.experiment_id, call.subject, call.variant, said.value)
    return given


def _said_before(tx: Transaction, again: Feedback) -> Feedback:
    row = tx.session.get_one(FeedbackRow, again.exchange_id)
    if (row.kind, row.value) != (again.kind, again.value):
        raise Conflict("feedback on this answer was given already", remedy="It is kept as it was first given.")
    return again.model_copy(update={"given_at": row.given_at})


def _wrong(path: str, problem: str) -> ValidationFailed:
    return ValidationFailed("the feedback cannot be kept", details=[field_problem(path, problem, _REMEDY)])
