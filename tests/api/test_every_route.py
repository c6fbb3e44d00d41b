"""What holds for every route there is: who is refused, by whichever Host, path, method, id or filter they try it."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pytest
import uvicorn

from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
from serving_api.app import BASE, create_api, create_app
from serving_api.chat.app import ChatGateway
from serving_api.dagster_proxy import DagsterProxy
from tests.api.conftest import in_a_thread
from tests.api.every_route import Operation, ask, operations, queries, successes
from tests.conftest import cloned_database
from tests.gateway.conftest import deployed

pytestmark = pytest.mark.slow

ENDPOINTS = "/llm-ops/v1/serving/endpoints"


@dataclass(frozen=True)
class Place:
    """A running API with something in its lists, and all that it answers to."""

    address: str
    operations: list[Operation]


@pytest.fixture(scope="module")
def place(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("routes")
    with (
        cloned_database(postgres_url) as database_url,
        open_platform(
            Settings(llmops_home=home, database_url=database_url, secret_key="k" * 32, _env_file=None)
        ) as platform,
        in_a_thread(uvicorn.Server(uvicorn.Config(create_app(platform), log_config=None))) as (address, _thread),
    ):
        deployed(platform, "http://127.0.0.1:9")
        yield Place(address, operations(create_api(platform, ChatGateway(platform), DagsterProxy(platform))))


def test_nobody_gets_in_by_all_the_roles_together_that_do_not_open_a_route(place: Place) -> None:
    opened = []
    for each in place.operations:
        for roles in ("", ",".join(sorted(each.strangers))):
            status, body = ask(place.address, each.method, each.path, {"X-User-Id": "eve", "X-User-Roles": roles})
            if status != 403 or '"success"' in body:
                opened.append((each.method, each.template, roles, status))
    assert opened == []
    assert len(place.operations) > 150


def test_every_success_below_the_base_path_is_http_200_with_status_message_and_data() -> None:
    """Files that are downloaded and streams of events are what they are; the latter may also have nothing to say."""
    otherwise = {}
    for method, path, statuses, bodies in successes():
        if path.startswith(BASE) and (statuses, bodies) != ({"200"}, [{"status", "message", "data"}]):
            otherwise[f"{method} {path.removeprefix(BASE)}"] = statuses
    assert {path: statuses for path, statuses in otherwise.items() if not path.endswith(("export", ".csv"))} == {
        "get /training/jobs/events": {"200"}, "get /training/jobs/{job_id}/events": {"200", "204"},
    }  # fmt: skip


def test_every_refusal_below_the_base_path_is_in_the_same_envelope_under_its_own_status(place: Place) -> None:
    asked = [
        (each.method, each.path, {"X-User-Id": "eve", "X-User-Roles": roles})
        for each in place.operations
        for roles in ("", "admin")
        if each.path.startswith(BASE) and (each.method != "GET" or not roles)
    ]
    asked += [("GET", f"{BASE}/nowhere", {}), ("DELETE", f"{BASE}/audit/logs", {}), ("PUT", f"{BASE}/serve/x/chat", {})]
    statuses, otherwise = set(), []
    for method, path, headers in asked:
        for body in (None, "{") if method in {"POST", "PUT", "PATCH"} else (None,):
            status, text = ask(place.address, method, path, headers, body=body)
            told = json.loads(text)
            statuses.add(status)
            if told["status"] == "success" and status == 200:
                continue
            if not 400 <= status < 500 or told.keys() != {"status", "message", "data"} or told["status"] != "fail":
                otherwise.append((method, path, status, text[:200]))
    assert otherwise == []
    assert statuses >= {400, 403, 404, 405}


def test_every_refusal_of_a_role_is_in_the_audit_log(place: Place) -> None:
    ask(place.address, "GET", "/llm-ops/v1/audit/logs", {"X-User-Id": "mallory", "X-User-Roles": "viewer"})
    found = httpx.get(f"{place.address}/llm-ops/v1/audit/logs", params={"actorId": "mallory"}).json()["data"]
    assert [(each["action"], each["result"]) for each in found] == [("audit:read", "denied")]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost/x", "localhost?x", "localhost#x", "localhost:99999", "", "a@localhost", "localhost, x"],
)
def test_no_host_but_our_own_gets_an_answer_from_any_route(place: Place, host: str) -> None:
    asked = [("GET", path) for path in ("/", "/metrics", "/openapi.json", "/dagster")]
    asked += [(each.method, each.path) for each in place.operations]
    statuses = {ask(place.address, method, path, host=host)[0] for method, path in asked}
    assert statuses <= {400, 421}


def test_a_host_header_that_is_cut_in_two_never_gets_an_answer(place: Place) -> None:
    for end in ("\r", "\0", "\n evil", "\r\n\tevil"):
        head = f"GET {ENDPOINTS} HTTP/1.1\r\nHost: localhost{end}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", urlsplit(place.address).port or 0), 5) as connection:
            connection.sendall(head.encode())
            answer = connection.makefile("rb").read()
        assert not answer.startswith(b"HTTP/1.1 2"), end


def test_the_framework_is_one_whose_paths_do_not_come_from_the_host() -> None:
    assert tuple(int(part) for part in version("starlette").split(".")[:3]) >= (1, 0, 1)  # CVE-2026-48710


@pytest.mark.parametrize(
    "path",
    [
        "//llm-ops/v1/audit/logs", "/llm-ops/v1//audit/logs", "/llm-ops/v1/./audit/logs", "/llm-ops/v1/audit/logs/",
        "/llm-ops/v1/catalog/../audit/logs", "/llm-ops/v1/catalog/%2e%2e/audit/logs", "/llm-ops/v1/audit%2flogs",
        "/llm-ops/v1/audit/logs;a=b", "/llm-ops/v1/audit/logs.", "/llm-ops/v1/audit/logs%00", "/LLM-OPS/v1/audit/logs",
        "/llm-ops/v1/audit/%6cogs", "/llm-ops/v1/audit/%256cogs", "/llm-ops\\v1\\audit\\logs",
        "/llm-ops/v1/audit/logs%3f", "http://localhost/llm-ops/v1/audit/logs", "/dagster/../llm-ops/v1/audit/logs",
        "/llm-ops/v1/serve/..%2f..%2faudit/logs", "/openai/v1/../../llm-ops/v1/audit/logs",
    ],
)  # fmt: skip
def test_however_a_path_is_written_it_leads_nobody_past_its_permission(place: Place, path: str) -> None:
    status, body = ask(place.address, "GET", path, {"X-User-Id": "eve", "X-User-Roles": "viewer"})
    assert '"success"' not in body
    assert status in {200, 307, 400, 403, 404, 503}  # 200 is the console's own page, 503 that it is not built


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]
)
def test_no_header_makes_a_request_another_one(place: Place, header: str) -> None:
    (endpoint,) = httpx.get(place.address + ENDPOINTS).json()["data"]
    path = f"{ENDPOINTS}/{endpoint['id']}"
    value = path if header.endswith("URL") else "DELETE"
    for method, to in (("POST", path), ("GET", path), ("POST", f"{path}?_method=DELETE"), ("GET", "/health")):
        ask(place.address, method, to, {header: value})
    assert httpx.get(place.address + path).json()["data"]["id"] == endpoint["id"]


def test_what_is_nobodys_is_not_found_whatever_one_wants_to_do_with_it(place: Place) -> None:
    wrong = []
    for each in place.operations:
        if "_id}" in each.template:
            body = None if each.method in {"GET", "DELETE"} else "{}"
            status, _ = ask(place.address, each.method, each.path, body=body)
            if status not in {404, 422} and not (body and status in {400, 415}):  # something else is wrong before it
                wrong.append((each.method, each.template, status))
    assert wrong == []


HOSTILE = ("' OR '1'='1", "x'); DROP TABLE endpoints; --", '{"$ne": null}', "%' OR 1=1 --", "\\", "$(sleep 9)")


def test_no_filter_order_or_cursor_is_taken_for_language(place: Place) -> None:
    texts = [(path, name) for path, name, schema in queries() if "string" in str(schema) and "enum" not in str(schema)]
    assert len(texts) > 40
    believed = []
    for template, name in texts:
        path = Operation("GET", template, ()).path
        for value in HOSTILE:
            status, body = ask(place.address, "GET", f"{path}?{name}={quote(value, safe='')}")
            if status >= 500 or (name == "cursor" and status == 200 and "text/html" not in body):
                believed.append((template, name, value, status))
    assert believed == []
    assert len(httpx.get(place.address + ENDPOINTS).json()["data"]) == 1
    for name in ("route", "status", "modelId", "environment"):
        answer = httpx.get(place.address + ENDPOINTS, params={name: HOSTILE[0]})
        assert answer.json()["data"] == [] or answer.status_code == 422


def test_names_of_strangers_add_no_series_to_the_metrics(place: Place) -> None:
    def series_after(prefix: str) -> set[str]:
        for number in range(20):
            name = f"{prefix}-{number}-{uuid4()}"
            for path in (f"/{name}", f"/llm-ops/v1/{name}", f"/llm-ops/v1/serve/{name}/chat", f"/openai/v1/{name}"):
                ask(place.address, "GET", path)
            ask(place.address, "PROPFIND", f"/llm-ops/v1/{name}")
            ask(place.address, "POST", "/openai/v1/chat/completions", body=f'{{"model": "{name}", "messages": []}}')
        text = httpx.get(f"{place.address}/metrics").text
        assert prefix not in text
        return {line.rpartition(" ")[0] for line in text.splitlines() if line.startswith("llmops_")}

    httpx.get(f"{place.address}/metrics")
    assert series_after("strange-one") == series_after("strange-two")
