"""Whatever a stranger sends to the catalog, the answer is one that the API's description promises."""

import json
import re
from collections.abc import Iterator
from typing import Any

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
from tests.api.conftest import in_a_thread
from tests.conftest import cloned_database

BASE = "/llm-ops/v1"
ROOMS = ("catalog", "prompts", "governance", "audit")
JSON = {"Content-Type": "application/json"}
EXAMPLES = 12
CONTENT = {"messages": [{"role": "user", "content": "Hello."}], "variables": []}
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
    home = tmp_path_factory.mktemp("described")
    with (
        cloned_database(postgres_url) as database_url,
        open_platform(
            Settings(llmops_home=home, database_url=database_url, secret_key="k" * 32, _env_file=None)
        ) as platform,
        in_a_thread(uvicorn.Server(uvicorn.Config(create_app(platform), log_config=None))) as (address, _thread),
    ):
        yield address


@pytest.fixture(scope="module")
def known(root: str) -> dict[str, dict[str, str]]:
    """Entries that exist, by the path parameter that asks for the innermost; all that its path needs besides."""
    named = {"name": "known", "version": "1", "ownerTeam": "tests"}
    with httpx.Client(base_url=f"{root}{BASE}", timeout=60) as client:

        def made(path: str, body: dict[str, Any]) -> str:
            return str(client.post(path, json=body).raise_for_status().json()["data"]["id"])

        older, newer = (made("/catalog/datasets", {**named, "version": version}) for version in ("1", "2"))
        for dataset, cell in ((older, 2), (newer, 5)):
            rows = {"files": ("rows.csv", f"a,b\n1,{cell}\n3,4\n".encode())}
            client.post(f"/catalog/datasets/{dataset}/upload", files=rows).raise_for_status()
        compared = made(f"/catalog/datasets/{newer}/comparisons", {"withId": older, "key": []})
        card = {**named, "type": "base"}
        model, draft = made("/catalog/models", card), made("/catalog/datasets", {**named, "name": "draft"})
        files = [{"name": "rows.csv", "size": 8}]
        sets = made(f"/catalog/datasets/{draft}/uploads", {"files": files})
        models = made(f"/catalog/models/{model}/uploads", {"files": [{"name": "config.json", "size": 2}]})
        prompt = made("/prompts/templates", {"name": "known", "ownerTeam": "tests", "content": CONTENT})
    return {
        "upload_id dataset_id": {"upload_id": sets, "dataset_id": draft, "file": "1"},
        "upload_id model_id": {"upload_id": models, "model_id": model, "file": "1"},
        "comparison_id": {"comparison_id": compared, "dataset_id": newer},
        "prompt_id": {"prompt_id": prompt, "version": "1"},
        "model_id": {"model_id": model, "version": "1"},
        "dataset_id": {"dataset_id": older, "version": "1"},
        "version_id": {"version_id": older, "kind": "dataset"},
    }


def _known_in(path: str, known: dict[str, dict[str, str]]) -> dict[str, str]:
    """What fills the path's parameters; nothing when it has none that is known."""
    has = set(re.findall(r"{(\w+)}", path))
    found = next((ids for needs, ids in known.items() if has.issuperset(needs.split())), {})
    return {name: value for name, value in found.items() if name in has}


def test_every_route_of_the_catalog_is_among_the_operations_that_are_tried() -> None:
    tried = " ".join(_operations())
    for entry in ("catalog/datasets/{dataset_id}", "catalog/models/{model_id}", "prompts/templates/{prompt_id}"):
        for what in ("submit", "status", "versions/{version}/approve", "rollback", "impact", "recall", "blockers"):
            assert f"{BASE}/{entry}/{what}" in tried
    for kind in ("datasets/{dataset_id}", "models/{model_id}"):
        for what in ("upload", "uploads", "uploads/{upload_id}", "uploads/{upload_id}/files/{file}"):
            assert f"{BASE}/catalog/{kind}/{what}" in tried
    for other in (
        "models/import", "models/{model_id}/import", "models/{model_id}/provider/key", "lineage/{kind}/{version_id}",
        "datasets/{dataset_id}/comparisons/{comparison_id}/rows.csv", "models/{model_id}/test-connection",
    ):  # fmt: skip
        assert f"{BASE}/catalog/{other}" in tried
    paths = json.loads(openapi.FILE.read_bytes())["paths"]
    for path in paths:
        if path.endswith(("/upload", "/files/{file}")):
            (operation,) = paths[path].values()
            assert set(operation["requestBody"]["content"]) <= {"multipart/form-data", "application/octet-stream"}


@pytest.mark.parametrize("label", _operations())
def test_every_answer_of_the_catalog_is_one_that_is_described(
    root: str, known: dict[str, dict[str, str]], label: str
) -> None:
    described = schemathesis.openapi.from_dict(json.loads(openapi.FILE.read_bytes()))
    method, path = label.split(" ", 1)
    operation = described[path][method]
    ways = [operation.as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    if found := _known_in(path, known):
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
