"""Messages to the outside: signed, at least once, never lost, never in the way of the work they tell of."""

import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import update

from llmops_resources.catalog import approvals, delivery, outbox
from llmops_resources.catalog.lifecycle import Decision, Kind
from llmops_resources.catalog.tables import MessageRow
from llmops_resources.checks import validations
from llmops_resources.database import Actor
from llmops_resources.errors import InvalidInput
from llmops_resources.platform import Platform, open_platform
from llmops_resources.serving import deployments, endpoints
from llmops_resources.serving.endpoints import Environment
from llmops_resources.settings import Settings
from llmops_resources.values import utc_now
from tests.factories import approved, uploaded

SECRET = "a shared secret of at least 32 letters"
SYSTEM = Actor("system:test")


class Receiver:
    """A real HTTP server that remembers what came and answers with the next of its statuses (200 when none is left)."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.came.append((self.path, dict(self.headers.items()), body))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
                """Keep the test's output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _path, _headers, body in self.came]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    here = Receiver()
    yield here
    here.server.shutdown()
    here.server.server_close()


@contextmanager
def _telling(settings: Settings, receiver: Receiver, **more: Any) -> Iterator[Platform]:
    asked = {"outbound_allowed_hosts": (receiver.address,), "review_webhook_secret": SECRET, **more}
    with open_platform(settings.model_copy(update=asked)) as platform:
        yield platform


def _deliver(platform: Platform) -> int:
    return delivery.deliver(platform.settings, lambda: platform.transaction(SYSTEM))


def _let_time_pass(platform: Platform) -> None:
    with platform.transaction(SYSTEM) as tx:
        tx.session.execute(update(MessageRow).values(next_attempt_at=utc_now()))


def test_reviewers_are_told_of_a_submission_and_its_decision_with_a_signature(
    settings: Settings, receiver: Receiver, admin: Actor
) -> None:
    with _telling(settings, receiver, review_webhook_url=f"http://{receiver.address}/hook") as platform:
        entry = uploaded(platform, Kind.MODEL, "tiny")
        with platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)
            approvals.submit(tx, entry.id)
        assert _deliver(platform) == 1
        with platform.transaction(admin) as tx:
            approvals.decide(tx, entry.id, Decision.REJECT, notes="no licence")
        assert _deliver(platform) == 1
        assert _deliver(platform) == 0
    assert [(body["event"], body["version"]["name"]) for body in receiver.bodies] == [
        ("review.requested", "tiny"), ("review.decided", "tiny"),
    ]  # fmt: skip
    assert receiver.bodies[1]["notes"] == "no licence"
    path, headers, body = receiver.came[0]
    assert path == "/hook"
    assert headers["X-LLMOps-Signature"] == delivery.signature(SECRET, headers["X-LLMOps-Timestamp"], body)
    assert delivery.signature(SECRET, headers["X-LLMOps-Timestamp"], body + b" ") != headers["X-LLMOps-Signature"]


def test_a_signature_holds_for_its_key_its_time_and_every_byte_alone() -> None:
    body, then = b'{"event": "review.requested"}', "2026-01-02T03:04:05Z"
    signed = delivery.signature("key", then, body)
    computed = hmac.new(b"key", then.encode() + b"." + body, "sha256").hexdigest()
    assert signed == f"sha256={computed}"
    mutated = [body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :] for place in range(len(body))]
    others = [
        *(delivery.signature("key", then, other) for other in (*mutated, body[:-1], b"")),
        delivery.signature("kez", then, body),
        delivery.signature("key", "2026-01-02T03:04:06Z", body),
        delivery.signature("", then, body),
    ]
    assert signed not in others


def test_a_refused_message_comes_again_under_the_same_id(settings: Settings, receiver: Receiver, admin: Actor) -> None:
    receiver.statuses = [503, 500]
    with _telling(settings, receiver, review_webhook_url=f"http://{receiver.address}/hook") as platform:
        entry = uploaded(platform, Kind.MODEL, "tiny")
        with platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)
        for taken in (0, 0, 1, 0):
            assert _deliver(platform) == taken
            assert _deliver(platform) == 0  # not before its time
            _let_time_pass(platform)
    assert len({headers["Idempotency-Key"] for _path, headers, _body in receiver.came}) == 1
    assert len(receiver.came) == 3


def test_a_sender_that_dies_between_claim_and_send_loses_nothing(
    settings: Settings, receiver: Receiver, admin: Actor
) -> None:
    with _telling(settings, receiver, review_webhook_url=f"http://{receiver.address}/hook") as platform:
        entry = uploaded(platform, Kind.MODEL, "tiny")
        with platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)
        with platform.transaction(SYSTEM) as tx:
            assert len(outbox.claim_due(tx)) == 1  # and then this process is killed
        assert _deliver(platform) == 0
        _let_time_pass(platform)
        assert _deliver(platform) == 1


def test_a_rolled_back_decision_tells_nobody(settings: Settings, receiver: Receiver, admin: Actor) -> None:
    with _telling(settings, receiver, review_webhook_url=f"http://{receiver.address}/hook") as platform:
        entry = uploaded(platform, Kind.MODEL, "tiny")
        with pytest.raises(ZeroDivisionError), platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)
            _ = 1 / 0
        with platform.transaction(SYSTEM) as tx:
            assert outbox.waiting(tx) == 0


def test_without_a_receiver_nothing_is_written(platform: Platform, admin: Actor) -> None:
    approved(platform, Kind.MODEL, "tiny")
    with platform.transaction(admin) as tx:
        assert outbox.waiting(tx) == 0


def test_a_receiver_inside_a_private_network_is_not_reached_unless_it_is_allowed(
    settings: Settings, receiver: Receiver, admin: Actor
) -> None:
    url = f"http://{receiver.address}/hook"
    with _telling(settings, receiver, review_webhook_url=url, outbound_allowed_hosts=()) as platform:
        entry = uploaded(platform, Kind.MODEL, "tiny")
        with platform.transaction(admin) as tx:
            approvals.submit(tx, entry.id)
        assert _deliver(platform) == 0
    assert receiver.came == []


def test_a_hook_without_a_secret_is_refused_at_start(settings: Settings) -> None:
    unsafe = settings.model_copy(update={"review_webhook_url": "https://hooks.example.com"})
    with pytest.raises(InvalidInput, match="REVIEW_WEBHOOK_SECRET"):
        unsafe.check()


def test_waiting_doubles_up_to_an_hour() -> None:
    assert [outbox.backoff(attempt).total_seconds() for attempt in (1, 2, 3, 10, 11, 500)] == [
        5, 10, 20, 2560, 3600, 3600,
    ]  # fmt: skip


def test_a_deployment_and_a_validation_are_told_as_openlineage_events(
    settings: Settings, receiver: Receiver, admin: Actor
) -> None:
    with _telling(settings, receiver, openlineage_url=f"http://{receiver.address}/") as platform:
        model, data = approved(platform, Kind.MODEL, "tiny"), uploaded(platform, Kind.DATASET, "pairs")
        with platform.transaction(admin) as tx:
            endpoint = endpoints.deploy(tx, model_id=model.id, environment=Environment.DEV, backend="local")
            (deployment,) = deployments.search(tx, endpoint.id).items
            validation = validations.request(tx, data.id)
        with platform.transaction(SYSTEM) as tx:
            deployments.claim(tx, deployment.id, attempt=1, run_id="one")
            validations.claim(tx, validation.id, attempt=1, run_id="two")
        with platform.transaction(SYSTEM) as tx:
            deployments.finish(tx, deployment.id, run_id="one")
            validations.fail(tx, validation.id, "the disk is full", run_id="two")
        assert _deliver(platform) == 4
    assert {path for path, _headers, _body in receiver.came} == {"/api/v1/lineage"}
    events = {(event["job"]["name"], event["eventType"]): event for event in receiver.bodies}
    done = events["deploy.dev.tiny", "COMPLETE"]
    assert done["run"]["runId"] == events["deploy.dev.tiny", "START"]["run"]["runId"]
    assert [(out["namespace"], out["name"]) for out in done["outputs"]] == [("llmops", "endpoints/dev/tiny")]
    (used,) = done["inputs"]
    assert used["facets"]["version"]["datasetVersion"] == f"1@{model.digest}"
    assert used["facets"]["version"]["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
    failed = events["validate.pairs", "FAIL"]
    assert failed["run"]["facets"]["errorMessage"]["message"] == "the disk is full"
    assert failed["inputs"][0]["inputFacets"]["dataQualityMetrics"]["bytes"] == data.size_bytes
    for event in receiver.bodies:
        assert {"eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"} <= set(event)
