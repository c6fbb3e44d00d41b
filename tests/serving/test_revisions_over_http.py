"""Endpoints changed, rolled out again and taken back over HTTP, by one person and by several at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest

from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import Kind, Status
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.governance import audit
from llmops_resources.platform import Platform
from llmops_resources.prompts import bindings
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import EndpointStatus, Observation
from llmops_resources.serving.reconcile import desired
from llmops_resources.serving.revisions import Past, before
from tests.api.conftest import api  # noqa: F401  - fixture
from tests.factories import ADMIN, approved
from tests.prompts.prompts import approved_prompt, content
from tests.serving.with_a_cluster import platform  # noqa: F401  - fixture

SYSTEM = Actor("system:test")


@pytest.fixture
def model(platform: Platform) -> Version:  # noqa: F811
    return approved(platform, Kind.MODEL, "tiny")


@pytest.fixture
def prompts(platform: Platform) -> list[str]:  # noqa: F811
    """The ids of two approved versions of a prompt."""
    return [str(approved_prompt(platform, "answers", content(f"Way {number}:")).id) for number in (1, 2)]


def deployed(api: httpx.Client, model: Version, **asked: Any) -> dict[str, Any]:  # noqa: F811
    body = {"modelId": str(model.id), "environment": "dev", "route": "chat", **asked}
    answer = api.post("/serving/endpoints", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def ask(api: httpx.Client, method: str, endpoint: dict[str, Any], what: str = "", **asked: Any) -> Any:  # noqa: F811
    answer = api.request(method, f"/serving/endpoints/{endpoint['id']}{what}", **asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def refused(
    api: httpx.Client, method: str, endpoint: dict[str, Any], what: str = "", **asked: Any  # noqa: F811
) -> tuple[int, str]:
    answer = api.request(method, f"/serving/endpoints/{endpoint['id']}{what}", **asked)
    return answer.status_code, answer.text


def test_a_change_is_a_revision_of_the_settings_it_names_and_of_no_others(
    platform: Platform, api: httpx.Client, model: Version, prompts: list[str]  # noqa: F811
) -> None:
    made = deployed(api, model, memoryRequest="8Gi", autoscalePolicy={"cpuUtilization": 50}, rollbackPlan="call us")
    asked = {
        "maxReplicas": 4, "autoscalePolicy": {"targetLatencyMs": 800}, "promptPolicyId": prompts[0], "note": "a launch",
    }  # fmt: skip
    changed = ask(api, "PATCH", made, json=asked)
    assert (changed["revision"], changed["minReplicas"], changed["maxReplicas"]) == (2, 1, 4)
    assert changed["autoscalePolicy"] == {
        "targetLatencyMs": 800, "gpuUtilization": None, "cpuUtilization": None, "concurrency": None}  # fmt: skip
    assert (changed["promptPolicyId"], changed["memoryRequest"]) == (prompts[0], "8Gi")
    assert (changed["rollbackPlan"], changed["runtimeImage"]) == ("call us", made["runtimeImage"])
    assert ask(api, "PATCH", made, json={"memoryRequest": None})["memoryRequest"] is None
    newest, second, first = ask(api, "GET", made, "/deployments")
    assert [row["action"] for row in (newest, second, first)] == ["change", "change", "deploy"]
    assert (second["note"], second["modelName"], second["usable"]) == ("a launch", "tiny", True)
    differing = ask(api, "GET", made, "/deployments/1/diff?against=2")["differences"]
    assert {it["field"]: (it["before"], it["after"]) for it in differing} == {
        "maxReplicas": (4, 1), "promptPolicyId": (prompts[0], None),
        "autoscalePolicy": ({"targetLatencyMs": 800}, {"cpuUtilization": 50})}  # fmt: skip
    with platform.transaction(ADMIN) as tx:
        (wanted,) = desired(tx, "kubernetes")
        (entry, *_) = audit.search(tx, action="endpoint.change")
    assert (wanted.revision, wanted.max_replicas, wanted.config["promptPolicyId"]) == (3, 4, prompts[0])
    assert entry.metadata["revision"] == 3


def test_a_change_of_nothing_and_of_the_plan_alone_roll_nothing_out(
    api: httpx.Client, model: Version  # noqa: F811
) -> None:
    made = deployed(api, model)
    assert ask(api, "PATCH", made, json={"maxReplicas": 1, "useGpu": False})["revision"] == 1
    planned = ask(api, "PATCH", made, json={"rollbackPlan": "https://runbooks/chat"})
    assert (planned["revision"], planned["rollbackPlan"]) == (1, "https://runbooks/chat")
    assert len(ask(api, "GET", made, "/deployments")) == 1


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"minReplicas": 5}, "minReplicas"), ({"maxReplicas": 101}, "minReplicas"), ({"status": "healthy!"}, "status"),
    ({"status": "failed"}, "status"), ({"status": "stopped", "maxReplicas": 2}, "status"),
    ({"memoryRequest": "9Gi", "memoryLimit": "1Gi"}, "memoryLimit"), ({"modelId": "x"}, "modelId"),
    ({"servingRuntimeImage": "a b"}, "servingRuntimeImage"),
    ({"autoscalePolicy": {"cpuUtilization": 500}}, "autoscalePolicy.cpuUtilization"),
]  # fmt: skip


def test_a_change_that_cannot_be_is_refused_with_its_field_and_leaves_everything(
    api: httpx.Client, model: Version  # noqa: F811
) -> None:
    made = deployed(api, model)
    for asked, field in IMPOSSIBLE:
        answer = api.patch(f"/serving/endpoints/{made['id']}", json=asked)
        assert answer.status_code == 422, answer.text
        assert field in [problem["path"] for problem in answer.json()["data"]["errors"]]
    assert ask(api, "GET", made) == made


def test_staging_and_production_need_a_plan_and_keep_it(api: httpx.Client, model: Version) -> None:  # noqa: F811
    for environment in ("stg", "prod"):
        body = {"modelId": str(model.id), "environment": environment, "route": "chat"}
        answer = api.post("/serving/endpoints", json=body)
        assert (answer.status_code, "rollbackPlan" in answer.text) == (422, True)
        made = deployed(api, model, environment=environment, rollbackPlan="back to the last one")
        code, text = refused(api, "PATCH", made, json={"rollbackPlan": " "})
        assert (code, "is required in" in text) == (422, True)
        assert ask(api, "PATCH", made, json={"maxReplicas": 2})["rollbackPlan"] == "back to the last one"


def test_a_stopped_endpoint_comes_back_with_the_replicas_it_had(
    api: httpx.Client, model: Version  # noqa: F811
) -> None:
    made = deployed(api, model, minReplicas=2, maxReplicas=6)
    stopped = ask(api, "PATCH", made, json={"status": "stopped"})
    assert (stopped["minReplicas"], stopped["maxReplicas"]) == (0, 0)
    started = ask(api, "PATCH", made, json={"status": "deploying"})
    assert (started["minReplicas"], started["maxReplicas"]) == (2, 6)
    ask(api, "PATCH", made, json={"status": "stopped"})
    again = ask(api, "POST", made, "/redeploy")
    assert (again["minReplicas"], again["maxReplicas"], again["revision"]) == (2, 6, 5)


def test_a_redeployment_keeps_the_image_unless_it_says_otherwise(api: httpx.Client, model: Version) -> None:  # noqa: F811
    made = deployed(api, model, servingRuntimeImage="vllm/vllm-openai:v0.11.0", cpuRequest="2")
    again = ask(api, "POST", made, "/redeploy")
    assert (again["revision"], again["runtimeImage"]) == (2, "vllm/vllm-openai:v0.11.0")
    other = ask(api, "POST", made, "/redeploy?useGpu=true&memoryLimit=32Gi")
    assert (other["useGpu"], other["memoryLimit"], other["runtimeImage"]) == (True, "32Gi", again["runtimeImage"])
    named = ask(api, "POST", made, "/redeploy?servingRuntimeImage=vllm/vllm-openai:v0.12.0")
    assert (named["runtimeImage"], named["useGpu"], named["cpuRequest"]) == ("vllm/vllm-openai:v0.12.0", True, "2")


def test_an_image_nobody_chose_follows_the_device(api: httpx.Client, model: Version) -> None:  # noqa: F811
    made = deployed(api, model)
    assert made["runtimeImage"].endswith("-intel-cpu")
    on_gpu = ask(api, "PATCH", made, json={"useGpu": True})
    assert on_gpu["runtimeImage"] == "ghcr.io/huggingface/text-generation-inference:3.3.6"


def test_a_repeated_request_with_its_key_happens_once(api: httpx.Client, model: Version) -> None:  # noqa: F811
    made = deployed(api, model)
    ask(api, "PATCH", made, json={"maxReplicas": 2})
    for what in ("/redeploy", "/rollback"):
        answers = [ask(api, "POST", made, what, headers={"Idempotency-Key": what}) for _ in range(2)]
        assert answers[0] == answers[1]
    assert ask(api, "GET", made)["revision"] == 4


def test_going_back_takes_model_image_settings_and_prompt_to_any_earlier_revision(
    platform: Platform, api: httpx.Client, model: Version, prompts: list[str]  # noqa: F811
) -> None:
    made = deployed(api, model, promptPolicyId=prompts[0], servingRuntimeImage="vllm/vllm-openai:v0.11.0")
    newer = approved(platform, Kind.MODEL, "tiny", version="2", files={"w.bin": b"2"})
    otherwise = {"promptPolicyId": prompts[1], "servingRuntimeImage": "vllm/vllm-openai:v0.12.0", "backend": "kserve"}
    deployed(api, newer, **otherwise)
    ask(api, "PATCH", made, json={"maxReplicas": 3})
    back = ask(api, "POST", made, "/rollback", json={"to": 1, "note": "answers got worse"})
    assert (back["revision"], back["version"], back["promptPolicyId"], back["backend"], back["runtimeImage"]) == (
        4, "1", prompts[0], "kubernetes", "vllm/vllm-openai:v0.11.0")  # fmt: skip
    newest = ask(api, "GET", made, "/deployments?limit=1")[0]
    assert (newest["action"], newest["restores"], newest["note"]) == ("rollback", 1, "answers got worse")
    for missing in (4, 5, 99):
        assert refused(api, "POST", made, "/rollback", json={"to": missing})[0] == 404


def test_going_back_again_goes_further_back_and_in_the_end_stops(api: httpx.Client, model: Version) -> None:  # noqa: F811
    made = deployed(api, model)
    for replicas in (2, 3):
        ask(api, "PATCH", made, json={"maxReplicas": replicas})
    assert [ask(api, "POST", made, "/rollback")["maxReplicas"] for _ in range(3)] == [2, 1, 0]
    stopped = ask(api, "GET", made)
    assert ask(api, "POST", made, "/rollback") == stopped  # there is nothing left to do
    assert ask(api, "POST", made, "/redeploy")["maxReplicas"] == 1


def test_nobody_goes_back_to_a_model_whose_approval_was_withdrawn_and_is_told_where_to(
    platform: Platform, api: httpx.Client, model: Version  # noqa: F811
) -> None:
    made = deployed(api, model)
    bad = approved(platform, Kind.MODEL, "bad", files={"w.bin": b"2"})
    deployed(api, bad)
    deployed(api, approved(platform, Kind.MODEL, "new", files={"w.bin": b"3"}))
    with platform.transaction(ADMIN) as tx:
        approvals.change_status(tx, bad.id, Status.DEPRECATED)
    code, text = refused(api, "POST", made, "/rollback")
    assert (code, "Go back to revision 1" in text) == (409, True)
    assert [row["usable"] for row in ask(api, "GET", made, "/deployments")] == [True, False, True]
    assert ask(api, "POST", made, "/rollback", json={"to": 1})["modelName"] == "tiny"
    with platform.transaction(ADMIN) as tx:
        denied = audit.search(tx, action="endpoint.rollback")
    assert {str(entry.result) for entry in denied} == {"allowed", "denied"}


def test_a_revision_whose_model_is_withdrawn_can_be_stopped_and_not_changed(
    platform: Platform, api: httpx.Client, model: Version  # noqa: F811
) -> None:
    made = deployed(api, model)
    with platform.transaction(ADMIN) as tx:
        approvals.change_status(tx, model.id, Status.DEPRECATED)
    assert refused(api, "PATCH", made, json={"maxReplicas": 2})[0] == 409
    assert refused(api, "POST", made, "/redeploy")[0] == 409
    assert ask(api, "PATCH", made, json={"status": "stopped"})["maxReplicas"] == 0


def test_an_endpoint_has_an_approved_prompt_or_none(
    platform: Platform, api: httpx.Client, model: Version, prompts: list[str]  # noqa: F811
) -> None:
    body = {"modelId": str(model.id), "environment": "dev", "route": "chat"}
    made = deployed(api, model)
    for wrong in ("polite", str(model.id), "00000000-0000-0000-0000-000000000000"):
        for answer in (
            api.post("/serving/endpoints", json={**body, "promptPolicyId": wrong}),
            api.patch(f"/serving/endpoints/{made['id']}", json={"promptPolicyId": wrong}),
        ):
            assert answer.status_code == 422, answer.text
            assert [it["path"] for it in answer.json()["data"]["errors"]] == ["promptPolicyId"]
    assert ask(api, "GET", made)["revision"] == 1
    ask(api, "PATCH", made, json={"promptPolicyId": prompts[0]})
    ask(api, "PATCH", made, json={"promptPolicyId": prompts[1]})
    with platform.transaction(ADMIN) as tx:
        in_the_way = [(it.type, it.name) for it in bindings.blockers(tx, UUID(prompts[1]))]
        assert (in_the_way, bindings.blockers(tx, UUID(prompts[0]))) == ([("endpoint", "dev/chat")], [])
        for prompt in prompts:
            approvals.change_status(tx, prompt, Status.DEPRECATED)
    unapproved = {"promptPolicyId": prompts[0]}
    assert api.post("/serving/endpoints", json={**body, **unapproved}).status_code == 409
    for what, asked in (("", {"maxReplicas": 2}), ("/redeploy", {}), ("/rollback", {"to": 2})):
        code, text = refused(api, "POST" if what else "PATCH", made, what, json=asked)
        assert (code, "prompt answers" in text or "the prompt of revision 2" in text) == (409, True)
    assert "Go back to revision 1" in text
    assert [row["usable"] for row in ask(api, "GET", made, "/deployments")] == [False, False, True]
    assert ask(api, "PATCH", made, json={"promptPolicyId": None})["promptPolicyId"] is None
    assert ask(api, "POST", made, "/rollback", json={"to": 1})["revision"] == 5


def test_a_deletion_and_who_was_refused_it_are_in_the_audit_log(
    platform: Platform, api: httpx.Client, model: Version  # noqa: F811
) -> None:
    made = deployed(api, model)
    viewer = {"X-User-Id": "eve", "X-User-Roles": "viewer"}
    assert refused(api, "DELETE", made, headers=viewer)[0] == 403
    ask(api, "DELETE", made)
    assert refused(api, "DELETE", made)[0] == 404
    with platform.transaction(ADMIN) as tx:
        (done,) = audit.search(tx, action="endpoint.delete")
        (denied,) = audit.search(tx, actor_id="eve")
    assert (done.actor_id, done.resource_id, str(done.result)) == ("local-admin", made["id"], "allowed")
    assert (denied.action, str(denied.result)) == ("serving:deploy", "denied")


def test_of_two_changes_at_once_neither_is_lost(
    api: httpx.Client, model: Version, prompts: list[str]  # noqa: F811
) -> None:
    prompt = prompts[0]
    made = deployed(api, model)
    asked = [{"maxReplicas": 4}, {"memoryRequest": "8Gi"}, {"promptPolicyId": prompt}, {"cpuRequest": "3"}]
    with ThreadPoolExecutor(4) as threads:
        revisions = {it["revision"] for it in threads.map(lambda body: ask(api, "PATCH", made, json=body), asked)}
    now = ask(api, "GET", made)
    assert revisions == {2, 3, 4, 5}
    found = [now[name] for name in ("maxReplicas", "memoryRequest", "promptPolicyId", "cpuRequest")]
    assert found == [4, "8Gi", prompt, "3"]


def test_whoever_looked_at_an_older_revision_is_told_so(api: httpx.Client, model: Version) -> None:  # noqa: F811
    made = deployed(api, model)
    with ThreadPoolExecutor(4) as threads:
        bodies = [{"maxReplicas": 2 + place, "revision": 1} for place in range(4)]
        answers = threads.map(lambda body: api.patch(f"/serving/endpoints/{made['id']}", json=body), bodies)
        codes = sorted(answer.status_code for answer in answers)
    assert codes == [200, 409, 409, 409]
    for what in ("/redeploy", "/rollback"):
        code, text = refused(api, "POST", made, what, json={"revision": 1})
        assert (code, "is at revision 2 by now" in text) == (409, True)


def test_a_route_that_two_people_make_at_once_is_made_once(api: httpx.Client, model: Version) -> None:  # noqa: F811
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: deployed(api, model), range(4)))
    assert len({it["id"] for it in made}) == 1
    assert {it["revision"] for it in made} == {1, 2, 3, 4}


def test_what_was_seen_of_an_earlier_revision_does_not_count_for_a_changed_one(
    platform: Platform, api: httpx.Client, model: Version  # noqa: F811
) -> None:
    made = deployed(api, model)
    stop = threading.Event()

    def observe_on() -> None:
        """As an agent does, whose look at what is wanted is always a little old."""
        while not stop.is_set():
            with platform.transaction(SYSTEM) as tx:
                (wanted,) = desired(tx, "kubernetes")
            for _ in range(2):
                _see(platform, wanted.endpoint_id, wanted.revision)

    agent = threading.Thread(target=observe_on)
    agent.start()
    try:
        for replicas in range(2, 12):
            told = ask(api, "PATCH", made, json={"maxReplicas": replicas})
            assert (told["revision"], told["status"]) == (replicas, "deploying")
    finally:
        stop.set()
        agent.join()
    _see(platform, UUID(made["id"]), 11)
    _see(platform, UUID(made["id"]), 10)  # late
    assert ask(api, "GET", made)["status"] == "healthy"


@pytest.mark.parametrize(("past", "current", "found"), [
    ("a", 1, None), ("ab", 2, 1), ("abb", 3, 1), ("ab1", 3, None), ("abc2", 4, 1), ("abc21", 5, None),
    ("ab11", 4, None), ("abac", 4, 3), ("ab0c", 4, 2), ("abc2d", 5, 4),
])  # fmt: skip
def test_the_revision_before_is_another_one_and_never_one_that_was_left(
    past: str, current: int, found: int | None
) -> None:
    """Letters are contents; a digit goes back to that revision, 0 is scaled to zero."""
    known: dict[int, Past] = {}
    for number, sign in enumerate(past, start=1):
        if sign == "0":
            known[number] = Past(number, known[number - 1].content, (0, 0))
        elif sign.isdigit():
            there = known[int(sign)]
            known[number] = Past(number, there.content, there.replicas, restores=int(sign))
        else:
            known[number] = Past(number, (sign,), (1, 1))
    assert before(known, current)[0] == found


def _see(platform: Platform, endpoint_id: UUID, revision: int) -> None:  # noqa: F811
    with platform.transaction(SYSTEM) as tx:
        well = EndpointStatus.HEALTHY
        endpoints.observe(tx, Observation(endpoint_id=endpoint_id, revision=revision, status=well, base_url="http://x"))
