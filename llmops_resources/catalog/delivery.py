"""Sending the outbox's messages: the hooks, signed, and OpenLineage; through the one door for outgoing HTTP.

A message of the review or the training hook is a POST with `Idempotency-Key` (the message's id, the same on every
attempt), `X-LLMOps-Timestamp` (seconds since 1970) and `X-LLMOps-Signature: sha256=<hex>`, the HMAC-SHA256 of
`<timestamp>.<body>` under REVIEW_WEBHOOK_SECRET or TRAINING_WEBHOOK_SECRET. The body's bytes are canonical JSON. Any
2xx counts as taken.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from llmops_resources import outbound
from llmops_resources.catalog import outbox
from llmops_resources.catalog.lineage_events import RunFact
from llmops_resources.catalog.outbox import Channel, Message
from llmops_resources.database import Transaction
from llmops_resources.errors import PlatformError, UpstreamFailed
from llmops_resources.settings import Settings
from llmops_resources.values import canonical_json

SECONDS: Final = 10.0
LINEAGE_PATH: Final = "/api/v1/lineage"
logger = logging.getLogger(__name__)


def deliver(settings: Settings, begin: Callable[[], AbstractContextManager[Transaction]]) -> int:
    """Send what is due, each message outside any transaction; returns how many were taken.

    A message that is refused, or that finds nobody, is tried again later; the reason is kept with it.
    """
    with begin() as tx:
        due = outbox.claim_due(tx)
    taken = 0
    for message in due:
        try:
            _send(settings, message)
        except PlatformError as error:
            logger.warning("message %s (%s) was not taken: %s", message.id, message.channel, error)
            with begin() as tx:
                outbox.failed(tx, message.id, str(error))
        else:
            with begin() as tx:
                outbox.delivered(tx, message.id)
            taken += 1
    return taken


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What a receiver compares `X-LLMOps-Signature` with."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _send(settings: Settings, message: Message) -> None:
    url, headers = _receiver(settings, message)
    body = message.body
    if message.channel is Channel.OPENLINEAGE:
        from llmops_resources.catalog import openlineage  # noqa: PLC0415  its client is heavy, and most have no receiver

        body = openlineage.event(RunFact.model_validate(body), settings.openlineage_namespace)
    reply = outbound.post_json(
        url, body, allowed_hosts=settings.outbound_allowed_hosts, headers=headers, seconds=SECONDS
    )
    if not 200 <= reply.status < 300:
        raise UpstreamFailed(f"the receiver answered with status {reply.status}", remedy="See the receiver's log.")


def _receiver(settings: Settings, message: Message) -> tuple[str, Mapping[str, str]]:
    identified = {"Idempotency-Key": str(message.id)}
    if message.channel is Channel.OPENLINEAGE:
        if settings.openlineage_api_key:
            identified["Authorization"] = f"Bearer {settings.openlineage_api_key}"
        return _configured(settings.openlineage_url).rstrip("/") + LINEAGE_PATH, identified
    url, secret = (
        (settings.training_webhook_url, settings.training_webhook_secret)
        if message.channel is Channel.TRAINING
        else (settings.review_webhook_url, settings.review_webhook_secret)
    )
    timestamp = str(int(time.time()))
    signed = signature(secret or "", timestamp, canonical_json(message.body))
    headers = {**identified, "X-LLMOps-Timestamp": timestamp, "X-LLMOps-Signature": signed}
    return _configured(url), headers


def _configured(url: str | None) -> str:
    if not url:
        raise UpstreamFailed("no receiver is set any more", remedy="Set its address again, or leave it.")
    return url
