"""Whatever a stranger sends to the catalog, the answer is one that the API's description promises."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
from serving_api import openapi
from serving_api.app import create_app
from tests.conftest import cloned_database

BASE = "/llm-ops/v1"
ROOMS = ("catalog", "prompts", "governance", "audit")
JSON = {"Content-Type": "application/json"}
EXAMPLES = 12
PROMISES = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip


def _operations() -> list[str]:
    paths = json.loads(openapi.FILE.read_bytes())["paths"]
    ours = tuple(f"{BASE}/{room}" for room in ROOMS)
    return [f"{method.upper()} {path}" for path in paths if path.startswith(ours) for method in paths[path]]


@pytest.fixture(scope="module")
def root(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An API that all operations share, so that what one creates another may stumble over."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("described")
    with (
        cloned_database(postgres_url) as database_url,
        open_platform(
            Settings(llmops_home=home, database_url=database_url, secret_key="k" * 32, _env_file=None)
        ) as platform,
    ):
        server = uvicorn.Server(uvicorn.Config(create_app(platform), host="127.0.0.1", port=port, log_config=None))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def known(root: str) -> dict[str, str]:
    """Entries that exist, by the name of the path parameter that asks for them."""
    with httpx.Client(base_url=f"{root}{BASE}/catalog", timeout=60) as client:
        named = {"name": "known", "version": "1", "ownerTeam": "tests"}
        dataset = client.post("/datasets", json=named).json()["data"]["id"]
        client.post(f"/datasets/{dataset}/upload", files={"files": ("rows.csv", b"a,b\n1,2\n3,4\n")})
        model = client.post("/models", json={**named, "type": "base", "metadata": {}}).json()["data"]["id"]
    return {"dataset_id": dataset, "model_id": model, "version_id": dataset, "kind": "dataset", "version": "1"}


@pytest.mark.parametrize("label", _operations())
def test_every_answer_of_the_catalog_is_one_that_is_described(root: str, known: dict[str, str], label: str) -> None:
    described = schemathesis.openapi.from_dict(json.loads(openapi.FILE.read_bytes()))
    method, path = label.split(" ", 1)
    operation = described[path][method]
    ways = [operation.as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    if found := {name: entry for name, entry in known.items() if f"{{{name}}}" in path}:
        ways.append(operation.as_strategy(GenerationMode.POSITIVE, path_parameters=found))
    cases = st.one_of(ways)

    @given(case=cases)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    def kept(case: Case) -> None:
        answer = case.call(base_url=root, timeout=60)
        case.validate_response(answer, checks=PROMISES)

    kept()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("ownerTeam", "team\0", "NUL"),
        ("changeLog", "\ud800", "surrogates"),
        ("metadata", {"note": ["fine", {"deep": "a\0b"}]}, "at metadata.note.1.deep"),
        ("metadata", {"a\0b": 1}, "NUL"),
        ("metadata", {"count": 2**63}, "64 bits"),
        ("metadata", {"share": float("nan")}, "finite"),
        ("metadata", {"share": float("inf")}, "finite"),
    ],
)
def test_a_value_that_no_database_can_keep_is_a_clear_refusal(root: str, field: str, value: object, words: str) -> None:
    body = {"name": "storable", "version": "1", "ownerTeam": "team", "changeLog": "", "metadata": {}, field: value}
    answer = httpx.post(f"{root}{BASE}/catalog/datasets", content=json.dumps(body), headers=JSON, timeout=60)
    assert answer.status_code == 422, answer.text
    assert words in answer.text
    assert httpx.get(f"{root}{BASE}/catalog/datasets", params={"name": "storable"}).json()["data"] == []


def test_a_filter_with_a_nul_character_is_a_clear_refusal(root: str) -> None:
    answer = httpx.get(f"{root}{BASE}/audit/logs", params={"actorId": "a\0b"}, timeout=60)
    assert answer.status_code == 400
    assert "NUL" in answer.json()["message"]


def test_a_body_nested_without_end_is_a_clear_refusal(root: str) -> None:
    deep = '{"name": "n", "version": "1", "ownerTeam": "t", "metadata": ' + '{"a": ' * 500 + "1" + "}" * 501
    answer = httpx.post(f"{root}{BASE}/catalog/datasets", content=deep, headers=JSON, timeout=60)
    assert answer.status_code == 422, answer.text
    assert "nested" in answer.text
