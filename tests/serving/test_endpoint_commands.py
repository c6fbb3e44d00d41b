"""Endpoints at the command line: changed, taken back, looked at, compared between environments."""

import re

import httpx
import pytest

from llmops_cli.api import Refused
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.errors import NotFound, ValidationFailed
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints, log_tails
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from tests.api.conftest import api, llmops  # noqa: F401  - fixtures
from tests.api.shell import Shell
from tests.factories import approved
from tests.prompts.prompts import approved_prompt, content
from tests.serving.with_a_cluster import platform  # noqa: F401  - fixture

IMAGE = "vllm/vllm-openai:v0.11.0"
DEPLOY = ("deploy", "tiny", "chat", "--image", IMAGE, "--rollback-plan", "take it back", "--no-wait")


@pytest.fixture
def command(platform: Platform, llmops: Shell) -> Shell:  # noqa: F811
    approved(platform, Kind.MODEL, "tiny")
    return Shell(("endpoints",))


def test_an_endpoint_is_changed_stopped_started_and_taken_back(command: Shell, platform: Platform) -> None:  # noqa: F811
    command(*DEPLOY)
    changed = command.json("change", "dev/chat", "--replicas", "2-5", "--scale-cpu", "60", "--why", "a launch")
    assert (changed["revision"], changed["minReplicas"], changed["maxReplicas"]) == (2, 2, 5)
    assert changed["autoscalePolicy"]["cpuUtilization"] == 60
    prompts = [str(approved_prompt(platform, "polite", content(f"Way {number}:")).id) for number in (1, 2)]
    assert command.json("change", "chat", "--prompt-policy", "polite@1")["promptPolicyId"] == prompts[0]
    assert command.json("change", "chat", "--prompt-policy", "polite")["promptPolicyId"] == prompts[1]
    assert "stopped" in command("stop", "chat")
    assert command.json("start", "chat")["maxReplicas"] == 5
    again = command.json("redeploy", "chat", "--gpu", "--gpus", "2", "--memory", "8Gi-16Gi")
    assert (again["useGpu"], again["gpuCount"], again["memoryLimit"], again["runtimeImage"]) == (True, 2, "16Gi", IMAGE)
    with pytest.raises(Refused, match="is at revision 7"):
        command("rollback", "chat", "--revision", "6")
    back = command.json("rollback", "chat", "--to", "1", "--why", "too slow")
    assert (back["revision"], back["maxReplicas"], back["useGpu"]) == (8, 1, False)
    told = command("history", "chat")
    assert re.search(r"8 +rollback 1 +tiny 1 .* too slow", told)
    assert re.search(r"maxReplicas +1 +5", command("diff", "chat", "2"))
    assert "minReplicas" in command("show", "chat")
    command("delete", "chat", "--yes")
    with pytest.raises(NotFound, match="no one endpoint chat"):
        command("show", "chat")


def test_how_calls_to_a_route_are_treated_is_shown_changed_and_taken_back(command: Shell) -> None:
    command(*DEPLOY)
    assert re.search(r"fallbackRoute +no", command("policy", "chat"))
    changed = command.json("policy", "chat", "--timeout", "20", "--max-tokens", "256", "--mask-input", "--cache", "60")
    assert changed == {
        "fallbackRoute": None, "timeoutSeconds": 20.0, "maxPromptBytes": None, "maxTokens": 256, "maskInput": True,
        "maskOutput": False, "cacheSeconds": 60,
    }  # fmt: skip
    again = command.json("policy", "chat", "--no-mask-input", "--without", "cache", "--without", "timeout")
    assert (again["maskInput"], again["cacheSeconds"], again["timeoutSeconds"]) == (False, None, None)
    assert again["maxTokens"] == 256
    with pytest.raises(Refused) as refused:
        command("policy", "chat", "--fallback", "nobody")
    assert [detail["path"] for detail in refused.value.details] == ["fallbackRoute"]
    with pytest.raises(ValidationFailed) as which:
        command("policy", "chat", "--without", "mask-input")
    assert "max-prompt-bytes" in which.value.details[0]["remedy"]


def test_environments_are_compared_and_their_differences_explained(command: Shell) -> None:
    command(*DEPLOY)
    with pytest.raises(Refused) as refused:
        command(*DEPLOY, "--env", "stg", "--gpu")
    assert [detail["path"] for detail in refused.value.details] == ["parityReasons.useGpu"]
    command(*DEPLOY, "--env", "stg", "--gpu", "--because", "useGpu=there are no GPUs in dev")
    assert "there are no GPUs in dev" in command("parity", "stg/chat")
    command("change", "dev/chat", "--memory", "8Gi")
    assert "blocks promotion" in command("parity", "stg/chat")
    (told,) = command.json("parity", "stg/chat", "--because", "memoryRequest=dev tries long documents",
                           "--because", "memoryLimit=dev tries long documents")  # fmt: skip
    assert not told["blocked"]
    with pytest.raises(ValidationFailed, match="cannot be read"):
        command("parity", "stg/chat", "--because", "memoryRequest")
    with pytest.raises(NotFound) as which:
        command("show", "chat")
    assert "dev/chat" in which.value.remedy
    assert "stg/chat" in which.value.remedy
    assert [it["environment"] for it in command.json("list", "--env", "stg", "--route", "cha")] == ["stg"]


def test_health_events_and_logs_are_read(command: Shell, platform: Platform, api: httpx.Client) -> None:  # noqa: F811
    endpoint_id = command.json(*DEPLOY)["id"]
    with platform.transaction(Actor("system:test")) as tx:
        seen = Observation(endpoint_id=endpoint_id, revision=1, status=EndpointStatus.FAILED, detail="out of memory")
        endpoints.observe(tx, seen)
    assert "out of memory" in command("events", "chat")
    told = command("health", "chat", "--hours", "1")
    assert "out of memory" in told
    assert "answered for 0.00%" in told
    api.get(f"/serving/endpoints/{endpoint_id}/logs")
    with platform.transaction(Actor("system:test")) as tx:
        log_tails.keep(tx, seen.endpoint_id, 1, "loading\nready")
    assert command("logs", "chat", "--wait", "0").splitlines() == ["loading", "ready"]
