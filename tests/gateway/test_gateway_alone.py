"""`python -m serving_api.gateway`: the gateway without the rest of the API."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal

import httpx
import pytest

from llmops_resources.platform import Platform
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus
from serving_api.gateway import create_gateway
from tests.gateway.conftest import ModelServer, eventually, observe, running_asgi
from tests.gateway.test_api_keys import issued, works
from tests.gateway.test_chat import CHAT, HELLO, booked
from tests.gateway.test_money import ONE_CALL, budgeted, priced, settled

CALLS = 24


@pytest.fixture
def gateways(platform: Platform, endpoint: Endpoint) -> Iterator[list[httpx.Client]]:
    """Two of them, on one platform."""
    assert endpoint.route == "support"
    with ExitStack() as stack:
        roots = [stack.enter_context(running_asgi(create_gateway(platform))) for _ in range(2)]
        yield [
            stack.enter_context(httpx.Client(base_url=root, timeout=20, verify=not root.startswith("http://")))
            for root in roots
        ]


def test_each_answers_as_the_api_does_and_books_what_it_answered(
    gateways: list[httpx.Client], platform: Platform, model_server: ModelServer
) -> None:
    answers = [each.post(CHAT, json=HELLO) for each in gateways]
    said = [answer.json()["data"]["choices"][0]["message"]["content"] for answer in answers]
    assert said == ["hello world", "hello world"]
    records = booked(platform, 2)
    assert {record.request_id for record in records} == {answer.headers["x-request-id"] for answer in answers}
    assert len(model_server.seen) == 2


def test_together_they_spend_no_more_than_the_budget(gateways: list[httpx.Client], platform: Platform) -> None:
    priced(platform)
    budgeted(platform, "0.5")
    _key, headers = issued(platform)
    for each in gateways:
        works(each, headers, 429)  # without max_tokens a call could cost more than there is
    small = {**HELLO, "max_tokens": 10}
    statuses = [gateways[at % 2].post(CHAT, json=small, headers=headers).status_code for at in range(CALLS)]
    good = statuses.count(200)
    assert 0 < good < CALLS
    assert good + statuses.count(429) == CALLS
    assert settled(platform, good).amount == good * ONE_CALL <= Decimal("0.5")


def test_a_withdrawn_endpoint_is_withdrawn_from_both(
    gateways: list[httpx.Client], platform: Platform, endpoint: Endpoint
) -> None:
    observe(platform, endpoint, status=EndpointStatus.FAILED)
    eventually(lambda: all(each.post(CHAT, json=HELLO).status_code == 503 for each in gateways))


def test_probes_and_metrics_are_there_and_nothing_else_is(gateways: list[httpx.Client]) -> None:
    client = gateways[0]
    assert client.get("/health").json() == {"status": "ok"}
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"database": "ok", "objects": "ok", "routes": "ok"})
    assert "llmops_http_requests_total" in client.get("/metrics").text
    lost = client.get("/llm-ops/v1/catalog/models")
    assert (lost.status_code, lost.json()["status"]) == (404, "fail")
    assert lost.json()["data"]["remedy"]


def test_a_process_of_it_loads_neither_the_api_nor_what_the_data_checks_need() -> None:
    program = (
        "import sys, serving_api.gateway\n"
        "unwanted = {'fastapi', 'polars', 'pyarrow', 'presidio_analyzer', 'dagster', 'serving_api.app'}\n"
        "assert not unwanted & set(sys.modules), unwanted & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
