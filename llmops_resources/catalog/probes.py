"""Asking a provider whether it answers: one bounded GET of its list of models, of which only a verdict is kept.

Whoever may have us ask could turn us into a scanner, so tests are counted per person, per host and altogether.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import delete, func, select

from llmops_resources import outbound
from llmops_resources.catalog.providers import Connection, Provider
from llmops_resources.catalog.tables import ConnectionTestRow
from llmops_resources.database import Transaction
from llmops_resources.errors import PlatformError, TooManyRequests
from llmops_resources.outbound import Lookup
from llmops_resources.settings import Settings
from llmops_resources.values import Value, utc_now

SECONDS: Final = 8.0
MAX_BYTES: Final = 4 * 1024**2
_WINDOW: Final = timedelta(minutes=1)
#: Tests in a minute: by one person, of one host, by everybody.
PER_ACTOR, PER_HOST, ALTOGETHER = 10, 10, 60
_LOCK: Final = 7_265_004


class Verdict(StrEnum):
    """What came of asking."""

    ANSWERED = "answered"
    KEY_REFUSED = "key_refused"
    NO_LIST = "no_list"
    FAILED = "failed"


class ConnectionReport(Value):
    """Whether a provider answered. Nothing in it was written by the provider."""

    verdict: Verdict
    reachable: bool
    latency_ms: float | None
    model_listed: bool | None
    detail: str
    checked_at: datetime


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] | None  # an Ollama without models has null


_MODELS: Final = msgspec.json.Decoder(_Models)


def admit(tx: Transaction, version_id: object, host: str) -> None:
    """Count a test that is about to be made. Raises TooManyRequests past one of the bounds."""
    tx.session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    now = utc_now()
    tx.session.execute(delete(ConnectionTestRow).where(ConnectionTestRow.asked_at < now - _WINDOW))
    recent = select(func.count(), func.min(ConnectionTestRow.asked_at))
    bounds = (
        (recent.where(ConnectionTestRow.actor_id == tx.actor.id), PER_ACTOR),
        (recent.where(ConnectionTestRow.host == host), PER_HOST),
        (recent, ALTOGETHER),
    )
    for query, bound in bounds:
        count, oldest = tx.session.execute(query).one()
        if count >= bound:
            wait = (oldest + _WINDOW - now).total_seconds()
            raise TooManyRequests(
                "too many connection tests within a minute", retry_after=wait, remedy="Try again in a minute."
            )
    tx.session.add(ConnectionTestRow(actor_id=tx.actor.id, host=host))
    tx.audit("model.test_connection", "model", version_id, host=host)


def probe(connection: Connection, settings: Settings, *, lookup: Lookup | None = None) -> ConnectionReport:
    """Ask the provider for its models, in at most SECONDS and MAX_BYTES. Never raises for what the provider does."""
    config = connection.config
    try:
        reply = outbound.get(
            f"{config.api_base}/models",
            allowed_hosts=settings.outbound_allowed_hosts,
            headers=connection.headers(),
            seconds=SECONDS,
            max_bytes=MAX_BYTES,
            lookup=lookup,
        )
    except PlatformError as error:
        details = "; ".join(f"{detail['path']} {detail['problem']}" for detail in error.details)
        return _report(Verdict.FAILED, f"{error.message}{f': {details}' if details else ''}", reachable=False)
    verdict, listed, detail = _read(reply.status, reply.body, connection)
    return _report(verdict, detail, reachable=True, latency=reply.seconds * 1000, listed=listed)


def _read(status: int, body: bytes, connection: Connection) -> tuple[Verdict, bool | None, str]:
    if status in {401, 403}:
        return Verdict.KEY_REFUSED, None, "the provider refuses the API key"
    if status in {404, 405, 501}:
        return Verdict.NO_LIST, None, "the provider answers, but has no list of models at this address"
    if status != 200:
        return Verdict.FAILED, None, f"the provider answers with HTTP {status}"
    try:
        names = {model.id for model in _MODELS.decode(body).data or ()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Verdict.NO_LIST, None, "the provider answers, but not with a list of models"
    wanted = connection.config.model_name
    tagged = connection.config.provider is Provider.OLLAMA and f"{wanted}:latest" in names
    if wanted in names or tagged:
        return Verdict.ANSWERED, True, ""
    return Verdict.ANSWERED, False, "the provider answers, but does not list this model"


def _report(
    verdict: Verdict, detail: str, *, reachable: bool, latency: float | None = None, listed: bool | None = None
) -> ConnectionReport:
    return ConnectionReport(
        verdict=verdict,
        reachable=reachable,
        latency_ms=round(latency, 1) if latency is not None else None,
        model_listed=listed,
        detail=detail,
        checked_at=utc_now(),
    )
