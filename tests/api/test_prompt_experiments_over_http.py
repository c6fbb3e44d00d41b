"""Bindings and experiments over HTTP: who may, what is refused, what is recorded, and what several do at once."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from sqlalchemy import text, update

from llmops_assets.looking import look
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.gateway.usage import Outcome
from llmops_resources.governance import audit
from llmops_resources.platform import Platform, open_platform
from llmops_resources.prompts.experiments import observations
from llmops_resources.prompts.tables import AllocationRow
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Environment
from llmops_resources.settings import Settings
from llmops_resources.values import utc_now
from tests import factories
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.gateway.records import a_record, book
from tests.prompts.prompts import approved_prompt, content

ANN = {"x-user-id": "ann", "x-user-roles": "prompt_designer,reviewer"}
REVIEWER = {"x-user-id": "rae", "x-user-roles": "reviewer"}
ROUTE = "/serving/routes/support/prompt"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"single_user": False})


@pytest.fixture
def prompts(settings: Settings) -> list[str]:
    """A served route and three approved versions of a prompt, all by somebody who is alone."""
    with open_platform(settings.model_copy(update={"single_user": True}), application="test") as platform:
        model = factories.approved(platform, Kind.MODEL, "m", files={"model.safetensors": b"weights"})
        with platform.transaction(factories.ADMIN) as tx:
            endpoints.deploy(tx, model_id=model.id, environment=Environment.DEV, backend="local", route="support")
        return [str(approved_prompt(platform, "answers", content(f"Way {n}:")).id) for n in (1, 2, 3)]


def data(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def planned(api: httpx.Client, prompts: list[str], **fields: Any) -> dict[str, Any]:
    variants = [{"name": name, "promptId": prompt} for name, prompt in zip("ab", prompts, strict=False)]
    body = {"name": "kinder", "route": "support", "variants": variants, **fields}
    made: dict[str, Any] = data(api.post("/prompts/experiments", json=body, headers=ANN))
    return made


def begun(api: httpx.Client, prompts: list[str], **fields: Any) -> dict[str, Any]:
    made = planned(api, prompts, **fields)
    started: dict[str, Any] = data(api.post(f"/prompts/experiments/{made['id']}/start", headers=ANN))
    return started


def answered(
    platform: Platform, experiment: dict[str, Any], variant: str, users: int, liked: float, *, failed: float = 0.0,
    allocation: int = 1,
) -> None:  # fmt: skip
    """So many users saw a variant and rated it."""
    rng = np.random.default_rng(ord(variant))
    calls = [
        a_record(
            experiment_id=UUID(experiment["id"]), subject=uuid4().hex, allocation=allocation, variant=variant,
            at=utc_now(), status=Outcome.FAILED if rng.random() < failed else Outcome.SUCCEEDED,
            latency_ms=float(rng.uniform(90, 110)), amount=Decimal("0.001"),
        )
        for _ in range(users)
    ]  # fmt: skip
    with platform.transaction(Actor("system:gateway")) as tx:
        book(tx, calls)
        book(tx, calls)  # a segment of the spool that is handed over twice
        for call in calls:
            observations.rate(tx, call.experiment_id, call.subject, variant, float(rng.random() < liked))


def test_a_prompt_is_bound_seen_and_rolled_back_step_by_step(api: httpx.Client, prompts: list[str]) -> None:
    assert data(api.get(ROUTE)) is None
    assert api.post(f"{ROUTE}/rollback").status_code == 409
    for prompt in prompts[:2]:
        bound = data(api.put(ROUTE, json={"promptId": prompt, "reason": "try"}, headers=ANN))
    assert (bound["promptVersion"], bound["number"], bound["boundBy"]) == ("2", 2, "ann")
    assert data(api.put(ROUTE, json={"promptId": prompts[1]}))["number"] == 2  # again changes nothing
    assert [each["route"] for each in data(api.get("/prompts/bindings", params={"name": "answers"}))] == ["support"]
    back = data(api.post(f"{ROUTE}/rollback", json={"reason": "worse"}))
    assert (back["promptVersion"], back["restores"], back["number"]) == ("1", 1, 3)
    assert data(api.post(f"{ROUTE}/rollback"))["promptId"] is None
    assert api.post(f"{ROUTE}/rollback").status_code == 409
    assert [each["number"] for each in data(api.get(f"{ROUTE}/history"))] == [4, 3, 2, 1]
    assert data(api.put(ROUTE, json={"promptId": prompts[2]}))["number"] == 5
    assert data(api.delete(ROUTE))["promptId"] is None
    assert data(api.get("/prompts/bindings")) == []


def test_only_approved_prompts_are_bound_to_routes_that_are_served_by_people_who_may(
    api: httpx.Client, prompts: list[str]
) -> None:
    body = {"name": "draft", "ownerTeam": "t", "content": content("x").json_dict()}
    draft = data(api.post("/prompts/templates", json=body))["id"]
    assert "not approved" in api.put(ROUTE, json={"promptId": draft}).json()["message"]
    assert api.put(ROUTE, json={"promptId": str(uuid4())}).status_code == 404
    assert api.put("/serving/routes/nowhere/prompt", json={"promptId": prompts[0]}).status_code == 422
    for method, path in (("PUT", ROUTE), ("DELETE", ROUTE), ("POST", f"{ROUTE}/rollback")):
        answer = api.request(method, path, json={"promptId": prompts[0]} if method == "PUT" else None, headers=REVIEWER)
        assert answer.status_code == 403


def test_a_prompt_that_is_bound_or_compared_is_not_deleted(api: httpx.Client, prompts: list[str]) -> None:
    data(api.put(ROUTE, json={"promptId": prompts[0]}))
    planned(api, prompts)
    for prompt, kinds in ((prompts[0], {"route", "experiment"}), (prompts[1], {"experiment"})):
        answer = api.delete(f"/prompts/templates/{prompt}")
        assert answer.status_code == 409
        assert kinds <= {each["type"] for each in answer.json()["data"]["errors"]}


def test_every_wrong_part_of_a_plan_is_named(api: httpx.Client, prompts: list[str]) -> None:
    body = {
        "name": "x", "route": "nowhere", "stopRules": {"minUsers": 50, "maxUsers": 10},
        "variants": [{"name": "a", "promptId": prompts[0]}, {"name": "a", "promptId": prompts[0]}],
    }  # fmt: skip
    errors = api.post("/prompts/experiments", json=body).json()["data"]["errors"]
    assert {each["path"] for each in errors} == {
        "route", "variants.1.name", "variants.1.promptId", "stopRules.minUsers",
    }  # fmt: skip
    alone = {**body, "variants": body["variants"][:1]}
    assert api.post("/prompts/experiments", json=alone).status_code == 422
    assert api.post("/prompts/experiments", json=body, headers=REVIEWER).status_code == 403


def test_a_winner_ends_it_another_person_decides_and_it_is_bound_with_its_evidence(
    api: httpx.Client, platform: Platform, prompts: list[str]
) -> None:
    data(api.put(ROUTE, json={"promptId": prompts[0]}))
    experiment = begun(api, prompts)
    path = f"/prompts/experiments/{experiment['id']}"
    assert api.put(ROUTE, json={"promptId": prompts[2]}).status_code == 409  # the experiment decides now
    answered(platform, experiment, "a", 200, 0.3)
    answered(platform, experiment, "b", 200, 0.8)
    seen = data(api.get(f"{path}/look"))
    assert (seen["users"], seen["advice"], seen["adopt"]) == (400, "adopt", "b")
    assert look(platform) == (1, 1)
    assert look(platform) == (0, 0)
    stopped = data(api.get(path))
    assert (stopped["state"], stopped["ending"], stopped["stoppedBy"]) == ("stopped", "winner", "system:experiments")
    assert len(data(api.get(f"{path}/looks"))) == 1

    conclusion = {"winner": "b", "notes": "People like it better."}
    assert api.post(f"{path}/conclude", json=conclusion, headers=ANN).status_code == 403
    assert api.post(f"{path}/conclude", json={"winner": "c", "notes": ""}, headers=REVIEWER).status_code == 422
    done = data(api.post(f"{path}/conclude", json=conclusion, headers=REVIEWER))
    outcome = done["outcome"]
    assert (outcome["winner"], outcome["concludedBy"], outcome["followedAdvice"]) == ("b", "rae", True)
    assert (outcome["evidence"]["users"], outcome["waived"]) == (400, "")
    assert data(api.post(f"{path}/conclude", json=conclusion, headers=REVIEWER)) == done
    assert api.post(f"{path}/conclude", json={**conclusion, "winner": "a"}, headers=REVIEWER).status_code == 409
    bound = data(api.get(ROUTE))
    assert (bound["promptId"], bound["experimentId"]) == (prompts[1], experiment["id"])
    assert bound["number"] == outcome["binding"]
    with platform.transaction(factories.ADMIN) as tx:
        entries = audit.search(tx, resource_type="experiment")
    assert {"experiment.create", "experiment.start", "experiment.stop", "experiment.conclude"} <= {
        each.action for each in entries
    }
    assert any(each.result == "denied" and each.actor_id == "ann" for each in entries)
    answered(platform, experiment, "b", 10, 0.0)  # too late
    assert data(api.get(f"{path}/look")) == outcome["evidence"]


def test_evidence_that_is_broken_binds_no_challenger(
    api: httpx.Client, platform: Platform, prompts: list[str]
) -> None:
    experiment = begun(api, prompts)
    path = f"/prompts/experiments/{experiment['id']}"
    answered(platform, experiment, "a", 300, 0.4)
    answered(platform, experiment, "b", 100, 0.8)
    assert data(api.get(f"{path}/look"))["advice"] == "investigate"
    refused = api.post(f"{path}/conclude", json={"winner": "b", "notes": "!"}, headers=REVIEWER)
    assert refused.status_code == 409
    assert "proportions" in refused.json()["message"]
    assert data(api.get(path))["state"] == "running"
    done = data(api.post(f"{path}/conclude", json={"winner": None, "notes": "A leak."}, headers=REVIEWER))
    assert (done["state"], done["outcome"]["winner"], done["outcome"]["followedAdvice"]) == ("concluded", None, True)
    assert data(api.get(ROUTE)) is None


def test_one_click_ends_an_experiment_and_the_next_goes_back_further(
    api: httpx.Client, platform: Platform, prompts: list[str]
) -> None:
    for prompt in prompts[:2]:
        data(api.put(ROUTE, json={"promptId": prompt}))
    experiment = begun(api, [prompts[1], prompts[2]])
    operator = {"x-user-id": "olu", "x-user-roles": "operator"}
    assert data(api.post(f"{ROUTE}/rollback", headers=operator))["promptId"] == prompts[1]
    stopped = data(api.get(f"/prompts/experiments/{experiment['id']}"))
    assert (stopped["state"], stopped["ending"], stopped["endingReason"]) == ("stopped", "person", "rolled back")
    assert data(api.post(f"{ROUTE}/rollback", headers=operator))["promptId"] == prompts[0]


def test_of_many_who_start_at_once_one_experiment_runs_at_a_route(api: httpx.Client, prompts: list[str]) -> None:
    made = [planned(api, prompts, name=f"number {n}")["id"] for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda each: api.post(f"/prompts/experiments/{each}/start").status_code, made))
    assert sorted(statuses) == [200, 409, 409, 409]
    running = data(api.get("/prompts/experiments", params={"state": "running"}))
    assert len(running) == 1
    assert data(api.post(f"/prompts/experiments/{running[0]['id']}/start"))["startedAt"] == running[0]["startedAt"]


def test_a_draft_is_given_up_and_never_concluded(api: httpx.Client, prompts: list[str]) -> None:
    path = f"/prompts/experiments/{planned(api, prompts)['id']}"
    assert data(api.get(f"{path}/look")) is None
    assert data(api.post(f"{path}/stop", json={"reason": "no"}, headers=ANN))["state"] == "stopped"
    conclusion = {"winner": None, "notes": "x"}
    assert "never ran" in api.post(f"{path}/conclude", json=conclusion, headers=REVIEWER).json()["message"]
    assert api.post(f"{path}/start", headers=ANN).status_code == 409
    assert api.get(f"/prompts/experiments/{uuid4()}").status_code == 404


def test_weights_follow_the_ratings_and_every_allocation_is_recorded(
    api: httpx.Client, platform: Platform, prompts: list[str]
) -> None:
    experiment = begun(api, prompts, allocation="thompson", stopRules={"onWinner": False}, minimumEffect=0.01)
    path = f"/prompts/experiments/{experiment['id']}"
    answered(platform, experiment, "a", 40, 0.45)
    answered(platform, experiment, "b", 40, 0.6)
    look(platform)
    assert len(data(api.get(f"{path}/allocations"))) == 1  # too soon
    with platform.transaction(factories.ADMIN) as tx:
        tx.session.execute(update(AllocationRow).values(at=text("now() - interval '10 minutes'")))
        tx.audit("test.age", "experiment", experiment["id"])
    look(platform)
    first, second = data(api.get(f"{path}/allocations"))
    assert first["shares"] == {"a": 0.5, "b": 0.5}
    assert second["shares"]["b"] > 0.8
    assert second["ratings"]["b"][0] == 40
    assert data(api.get(path))["shares"] == second["shares"]
    answered(platform, experiment, "b", 40, 0.6, allocation=2)
    answered(platform, experiment, "a", 4, 0.4, allocation=2)
    assert data(api.get(f"{path}/look"))["balanced"]


def test_lists_are_filtered_and_paged(api: httpx.Client, prompts: list[str]) -> None:
    made = [planned(api, prompts, name=name) for name in ("Kinder words", "100% shorter", "kind_er")]
    names = [each["name"] for each in data(api.get("/prompts/experiments", params={"name": "kind", "limit": 1}))]
    assert names == ["kind_er"]
    page = api.get("/prompts/experiments", params={"name": "%", "route": "/support"})
    assert [each["id"] for each in data(page)] == [made[1]["id"]]
    assert page.headers["x-total-count"] == "1"
    assert data(api.get("/prompts/experiments", params={"state": "running"})) == []
