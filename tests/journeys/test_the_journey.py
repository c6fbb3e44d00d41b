"""From an upload to a chat through the real processes, and what can be proved afterwards."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.journeys.running import RunningPlatform, wait_for

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(600)]
Walked = tuple[RunningPlatform, dict[str, Any]]
GRAPH = "{ assetNodes { assetKey { path } dependencyKeys { path } } }"
LOCATIONS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
LAUNCH = """mutation ($runs: [ExecutionParams!]!) { launchMultipleRuns(executionParamsList: $runs) { __typename
  ... on LaunchMultipleRunsResult { launchMultipleRunsResult { __typename
    ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } } } }"""
RUN = """query ($id: ID!) { runOrError(runId: $id) { ... on Run { status
  assetMaterializations { assetKey { path } metadataEntries { label } } } } }"""


def test_the_journey_ends_in_an_answer_with_its_usage_recorded(walked: Walked) -> None:
    platform, made = walked
    assert made["answer"]["choices"][0]["message"]["role"] == "assistant"
    assert made["answer"]["usage"]["completion_tokens"] > 0
    booked = lambda: platform.get("/observability/usage", route="tiny-chat") or None  # noqa: E731
    usage = wait_for(booked, 30, "usage in the database")
    assert usage[0]["completionTokens"] == made["answer"]["usage"]["completion_tokens"]


def test_the_evaluation_has_every_metric_with_its_number_of_samples(walked: Walked) -> None:
    _, made = walked
    metrics = made["evaluation"]["result"]["metrics"]
    assert set(metrics) == {"exact_match", "f1", "bleu", "perplexity"}
    assert all(score["n"] > 0 for score in metrics.values())
    assert made["evaluation"]["trainingJobId"]


def test_lineage_leads_from_the_served_model_to_the_exact_data(walked: Walked) -> None:
    platform, made = walked
    graph = platform.get(f"/catalog/lineage/model/{made['tuned']['id']}", direction="up")
    assert {(node["name"], node["version"]) for node in graph["nodes"]} == {
        ("corpus", "1"), ("pairs", "1"), ("tiny_base", "1"), ("tiny_chat", "1"),
    }  # fmt: skip


def test_the_training_recorded_its_loss_step_by_step(walked: Walked) -> None:
    platform, made = walked
    job = platform.get("/training/jobs", modelId=made["base"]["id"])[-1]
    losses = [metric for metric in platform.get(f"/training/experiments/{job['id']}") if metric["name"] == "loss"]
    assert len(losses) > 3
    assert losses[-1]["value"] < losses[0]["value"]


def test_a_stream_ends_with_done_and_adds_up_to_the_answer(walked: Walked) -> None:
    platform, made = walked
    body = {
        "messages": [{"role": "user", "content": "What is apple?"}],
        "max_tokens": 12,
        "temperature": 0,
        "stream": True,
    }
    text, last = "", ""
    with platform.client.stream("POST", "/serve/tiny-chat/chat", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                last = line.removeprefix("data: ")
                if last != "[DONE]" and (choices := json.loads(last)["choices"]):
                    text += choices[0]["delta"].get("content") or ""
    assert last == "[DONE]"
    assert text == made["answer"]["choices"][0]["message"]["content"]


def test_the_official_openai_client_gets_a_completion_and_a_stream(walked: Walked) -> None:
    platform, made = walked
    client = openai.OpenAI(base_url=f"{platform.root}/openai/v1", api_key="unused-locally")
    question: Any = [{"role": "user", "content": "What is apple?"}]
    assert "tiny-chat" in [model.id for model in client.models.list()]
    whole = client.chat.completions.create(model="tiny-chat", messages=question, max_tokens=12, temperature=0)
    parts = client.chat.completions.create(
        model="tiny-chat", messages=question, max_tokens=12, temperature=0, stream=True
    )
    streamed = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert whole.choices[0].message.content == streamed == made["answer"]["choices"][0]["message"]["content"]


def test_the_asset_graph_connects_the_raw_data_to_the_endpoint_under_the_users_names(walked: Walked) -> None:
    platform, _ = walked

    def graph() -> dict[str, set[str]] | None:
        nodes = {
            "/".join(node["assetKey"]["path"]): {"/".join(key["path"]) for key in node["dependencyKeys"]}
            for node in _graphql(platform, GRAPH)["assetNodes"]
        }
        return nodes if "models/tiny_base" in nodes.get("models/tiny_chat", set()) else None

    nodes = wait_for(graph, 60, "the mirror to know the journey's names")
    assert nodes["models/tiny_base"] == {"datasets/corpus"}
    assert nodes["models/tiny_chat"] == {"models/tiny_base", "datasets/pairs"}
    assert nodes["evaluations/tiny_chat/benchmark"] == {"models/tiny_chat", "datasets/benchmark"}
    assert nodes["endpoints/dev/tiny-chat"] == {"models/tiny_chat"}


def test_the_audit_chain_holds_and_names_every_step(walked: Walked) -> None:
    platform, _ = walked
    assert platform.get("/audit/verify")["intact"]
    actions = {entry["action"] for entry in platform.get("/audit/logs", limit=500)}
    assert {
        "dataset.create", "dataset.upload", "validation.request", "dataset.approve", "training.submit",
        "training.finish", "evaluation.request", "model.approve", "endpoint.deploy", "deployment.finish",
    } <= actions  # fmt: skip


def test_materializing_a_model_from_a_shell_makes_a_new_version_with_lineage(walked: Walked) -> None:
    platform, _ = walked
    environment = {**platform.environment, "DAGSTER_HOME": str(platform.home / "dagster")}
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("dagster")), "asset", "materialize",
            "-m", "llmops_assets.definitions", "--select", "key:models/tiny_base",
        ],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    newest = platform.get("/catalog/models", name="tiny_base")[0]
    assert newest["version"] == "2"
    graph = platform.get(f"/catalog/lineage/model/{newest['id']}", direction="up")
    assert {node["name"] for node in graph["nodes"]} == {"corpus", "tiny_base"}


@pytest.mark.parametrize(
    ("asset", "newest"),
    [
        ("datasets/corpus", "/catalog/datasets/{datasets[corpus][id]}/validation"),
        ("models/tiny_base", "/training/jobs"),
        ("evaluations/tiny_chat/benchmark", "/evaluation/runs"),
        ("endpoints/dev/tiny-chat", "/serving/endpoints/{endpoint[id]}/deployments"),
    ],
)
def test_the_button_materialize_in_the_dagster_ui_does_the_work_again(walked: Walked, asset: str, newest: str) -> None:
    platform, made = walked
    before = _newest(platform.get(newest.format(**made)))
    run_id = _materialize(platform, asset.split("/"))

    def ended() -> Any:
        run = _graphql(platform, RUN, id=run_id)["runOrError"]
        return run if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"} else None

    run = wait_for(ended, 180, f"the run of {asset}")
    assert run["status"] == "SUCCESS"
    made_now = {"/".join(event["assetKey"]["path"]): event for event in run["assetMaterializations"]}
    assert {"console"} <= {entry["label"] for entry in made_now[asset]["metadataEntries"]}
    after = _newest(platform.get(newest.format(**made)))
    assert after["id"] != before["id"]
    assert after["state"]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("route", "status", "words"), [("nobody", 404, "nobody"), ("Not A Route", 404, ""), ("tiny-chat/extra", 404, "")]
)
def test_chat_on_an_unknown_route_is_refused_in_the_envelope(
    walked: Walked, route: str, status: int, words: str
) -> None:
    platform, _ = walked
    answer = platform.client.post(f"/serve/{route}/chat", json={"messages": [{"role": "user", "content": "hi"}]})
    assert answer.status_code == status
    assert answer.json()["status"] == "fail"
    assert words in answer.json()["message"]


def test_everything_the_platform_prints_of_its_state_is_also_machine_readable(walked: Walked) -> None:
    platform, _ = walked
    state = json.loads(platform.llmops("status", "--json").stdout)
    assert {process["health"] for process in state["processes"]} == {"healthy"}
    assert re.match(r"http://", state["consoleUrl"])


def _newest(listed: Any) -> Any:
    return listed[0] if isinstance(listed, list) else listed


def _materialize(platform: RunningPlatform, path: list[str]) -> str:
    """What the button sends; the run's id."""
    (repository,) = _graphql(platform, LOCATIONS)["repositoriesOrError"]["nodes"]
    selector = {
        "repositoryLocationName": repository["location"]["name"],
        "repositoryName": repository["name"],
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": path}],
    }
    launched = _graphql(platform, LAUNCH, runs=[{"selector": selector, "runConfigData": "{}", "mode": "default"}])
    (result,) = launched["launchMultipleRuns"]["launchMultipleRunsResult"]
    assert result["__typename"] == "LaunchRunSuccess", result
    return str(result["run"]["runId"])


def _graphql(platform: RunningPlatform, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    answer = httpx.post(f"{platform.root}/dagster/graphql", json=body, timeout=60).json()
    assert "errors" not in answer, answer["errors"]
    return answer["data"]
