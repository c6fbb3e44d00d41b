"""An evaluation that is requested together with who judges its answers when they are there."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from llmops_assets.intake import judge_due
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.evaluation import run_lists, runs
from llmops_resources.governance import audit
from llmops_resources.platform import Platform
from tests.api.shell import Shell
from tests.evaluation.reviewing import ABSOLUTE, PAIRWISE, benchmark, finished, headers, model_of
from tests.factories import ADMIN, approved

REX = headers("rex", "researcher", "reviewer")
ANSWERS: list[str | None] = ["a", "b", None, "d"]


@pytest.fixture
def model(platform: Platform) -> Version:
    return model_of(platform, "one")


@pytest.fixture
def asked(platform: Platform, model: Version) -> dict[str, Any]:
    """What every request has."""
    return {"modelId": str(model.id), "datasetId": str(benchmark(platform).id)}


@pytest.fixture
def review(api: httpx.Client) -> dict[str, Any]:
    """A review of everything by two people."""
    digest = api.post("/evaluation/rubrics", json=ABSOLUTE.json_dict()).json()["data"]["digest"]
    return {"rubric": digest, "reviewers": ["ann", "ben"]}


@pytest.fixture
def judging(platform: Platform, review: dict[str, Any]) -> dict[str, Any]:
    """A judging by one model, by the rubric of the people."""
    judge = approved(platform, Kind.MODEL, "judge", files={"model.safetensors": b"judge"})
    return {"judges": [{"modelId": str(judge.id)}], "rubric": review["rubric"]}


def made(api: httpx.Client, body: dict[str, Any]) -> Any:
    answer = api.post("/evaluation/runs", json=body, headers=REX)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def judged(api: httpx.Client, run: Any) -> list[Any]:
    """The runs that judge its answers, the oldest first."""
    return list(reversed(api.get("/evaluation/runs", params={"judgedId": run["id"]}).json()["data"]))


def test_people_review_the_answers_of_a_human_run_when_they_are_there_and_once(
    platform: Platform, api: httpx.Client, asked: dict[str, Any], review: dict[str, Any]
) -> None:
    run = made(api, {**asked, "runType": "human", "review": review})
    assert (run["runType"], run["state"]["status"]) == ("automated", "queued")
    assert run["afterwards"]["review"]["reviewers"] == ["ann", "ben"]
    judge_due(platform)
    assert judged(api, run) == []  # there is nothing to judge yet

    finished(platform, UUID(run["id"]), ANSWERS)
    judge_due(platform)
    judge_due(platform)
    (people,) = judged(api, run)
    assert (people["runType"], people["state"]["status"], people["state"]["requestedBy"]) == ("human", "running", "rex")
    (task,) = api.get("/evaluation/reviews/mine", headers=headers("ann")).json()["data"]
    assert task["id"] == people["judging"]["reviewId"]
    assert api.get(f"/evaluation/runs/{run['id']}").json()["data"]["afterwards"]["problems"] == []


def test_a_combined_run_is_judged_by_people_and_by_models(
    platform: Platform, api: httpx.Client, asked: dict[str, Any], review: dict[str, Any], judging: dict[str, Any]
) -> None:
    run = made(api, {**asked, "runType": "combined", "review": review, "judging": judging})
    finished(platform, UUID(run["id"]), ANSWERS)
    judge_due(platform)
    by = judged(api, run)
    assert {each["runType"] for each in by} == {"human", "llm_judge"}
    assert {each["state"]["requestedBy"] for each in by} == {"rex"}


def test_a_judge_that_may_not_judge_any_more_is_named_and_the_rest_begins(
    platform: Platform, api: httpx.Client, asked: dict[str, Any], review: dict[str, Any], judging: dict[str, Any]
) -> None:
    run = made(api, {**asked, "runType": "combined", "review": review, "judging": judging})
    gone = api.patch(f"/catalog/models/{judging['judges'][0]['modelId']}/status", json={"status": "deprecated"})
    assert gone.status_code == 200, gone.text
    finished(platform, UUID(run["id"]), ANSWERS)
    judge_due(platform)
    assert [each["runType"] for each in judged(api, run)] == ["human"]
    (problem,) = api.get(f"/evaluation/runs/{run['id']}").json()["data"]["afterwards"]["problems"]
    assert problem.startswith("the judging could not begin: these judges cannot judge here")
    with platform.transaction(ADMIN) as tx:
        actions = [entry.action for entry in audit.search(tx, actor_id="rex")]
    assert actions.count("evaluation.request") == 2  # its own, and the people's: what was refused left no entry


def test_an_evaluation_that_fails_is_judged_by_nobody(
    platform: Platform, api: httpx.Client, asked: dict[str, Any], review: dict[str, Any]
) -> None:
    run = made(api, {**asked, "runType": "human", "review": review})
    with platform.transaction(Actor("system:dagster")) as tx:
        runs.fail(tx, UUID(run["id"]), "the disk is full")
    judge_due(platform)
    assert judged(api, run) == []


@pytest.mark.parametrize(("kind", "given", "wrong"), [
    ("human", [], ["review"]), ("llm_judge", ["review"], ["review", "judging"]),
    ("combined", ["review"], ["judging"]), ("automated", ["review", "judging"], ["review", "judging"]),
])  # fmt: skip
def test_who_judges_must_fit_the_type(
    api: httpx.Client, asked: dict[str, Any], review: dict[str, Any], judging: dict[str, Any], kind: str,
    given: list[str], wrong: list[str],
) -> None:  # fmt: skip
    plans = {"review": review, "judging": judging}
    answer = api.post("/evaluation/runs", json={**asked, "runType": kind, **{name: plans[name] for name in given}})
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["data"]["errors"]] == wrong
    assert api.get("/evaluation/runs").json()["data"] == []


def test_a_plan_that_cannot_be_carried_out_is_refused_before_anything_is_evaluated(
    platform: Platform, api: httpx.Client, model: Version, asked: dict[str, Any], review: dict[str, Any]
) -> None:
    pairs = api.post("/evaluation/rubrics", json=PAIRWISE.json_dict()).json()["data"]["digest"]
    itself = {"judges": [{"modelId": str(approved(platform, Kind.MODEL, "one", version="2").id)}], "rubric": pairs}
    for body, status in (
        ({"runType": "human", "review": {**review, "rubric": pairs}}, 422),
        ({"runType": "human", "review": {**review, "rubric": "sha256:none"}}, 404),
        ({"runType": "human", "review": {**review, "overlap": 3}}, 422),
        ({"runType": "llm_judge", "judging": itself}, 422),
    ):
        assert api.post("/evaluation/runs", json={**asked, **body}).status_code == status, body
    assert api.get("/evaluation/runs").json()["data"] == []
    assert model.name == "one"


def test_a_command_asks_for_all_of_it_and_says_what_goes_together(
    platform: Platform, llmops: Shell, asked: dict[str, Any], review: dict[str, Any], judging: dict[str, Any]
) -> None:
    _ = asked, judging
    shell = Shell(("evaluations",))
    create = ("create", "one", "exam", "--no-wait")
    run = shell.json(*create, "--rubric", review["rubric"], "--review-role", "reviewer", "--judge", "judge")
    assert (run["afterwards"]["review"]["roles"], run["afterwards"]["review"]["overlap"]) == (["reviewer"], 2)
    assert run["afterwards"]["judging"]["judges"][0]["modelId"] == judging["judges"][0]["modelId"]
    with pytest.raises(AssertionError, match="--rubric goes with"):
        llmops("evaluations", *create, "--judge", "judge")
    with platform.transaction(ADMIN) as tx:
        assert [each.id for each in run_lists.search(tx).items] == [UUID(run["id"])]
