"""Judgements of people handed in by the evaluation they are of, and reviews as evaluation runs of their own."""

from typing import Any

import httpx
import pytest

from llmops_resources.catalog import versions
from llmops_resources.database import Actor
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.evaluation.reviewing import ABSOLUTE, PAIRWISE, answered, benchmark, body, headers, model_of

ANN, BEN, CAT = (headers(name) for name in ("ann", "ben", "cat"))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Several people, so that the rules between them count."""
    return settings.model_copy(update={"single_user": False})


@pytest.fixture
def run(platform: Platform) -> Evaluation:
    return answered(platform, model_of(platform, "one"), benchmark(platform), ["a", "b", None, "d"])


def opened(api: httpx.Client, run: Evaluation, rubric: Any = ABSOLUTE, **more: Any) -> str:
    digest = api.post("/evaluation/rubrics", json=rubric.json_dict()).json()["data"]["digest"]
    answer = api.post("/evaluation/reviews", json=body(run.id, digest, **more))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["id"])


def handed_in(
    api: httpx.Client, run: Evaluation, who: dict[str, str], values: dict[int, dict[str, Any]], **more: Any
) -> httpx.Response:
    ratings = [{"sample": sample, "values": each, "comment": "seen"} for sample, each in values.items()]
    return api.post(f"/evaluation/runs/{run.id}/human-review", json={"ratings": ratings, **more}, headers=who)


def by_people(api: httpx.Client, run: Evaluation) -> Any:
    (found,) = api.get("/evaluation/runs", params={"judgedId": str(run.id), "runType": "human"}).json()["data"]
    return found


def test_people_hand_in_their_ratings_and_the_review_becomes_a_run_with_their_agreement(
    platform: Platform, api: httpx.Client, run: Evaluation
) -> None:
    review = opened(api, run)
    waiting = by_people(api, run)
    assert (waiting["state"]["status"], waiting["result"]) == ("running", None)
    assert waiting["judging"]["reviewId"] == review
    with platform.transaction(Actor("system:dagster")) as tx:
        assert runs.active(tx) == []  # no process is started for what people do
    good, bad = {"helpful": 5, "safe": "pass"}, {"helpful": 1, "safe": "fail"}
    said = handed_in(api, run, ANN, {0: good, 1: good, 3: bad}, reviewerId="ann").json()["data"]
    assert said == {"reviewId": review, "judged": 3, "assigned": 3}
    assert handed_in(api, run, BEN, {0: good, 1: good}).json()["data"]["judged"] == 2
    assert handed_in(api, run, BEN, {0: good, 3: bad}).json()["data"]["judged"] == 3  # the same again is the same
    assert api.post(f"/evaluation/reviews/{review}/close", json={}).status_code == 200
    done = by_people(api, run)
    assert done["state"]["status"] == "succeeded"
    assert done["result"]["metrics"]["safe"]["value"] == pytest.approx(2 / 3)
    assert done["result"]["metrics"]["helpful"]["n"] == 3
    assert [sample["scores"]["helpful"] for sample in done["result"]["samples"]] == [5, 5, 1]
    agreement = done["result"]["reviewed"]["criteria"][0]["agreement"]
    assert agreement[0]["estimate"]["value"] == 1.0
    assert done["result"]["reviewed"]["warnings"] == []


def test_of_two_answers_first_is_the_reviewed_runs_wherever_it_was_shown(
    platform: Platform, api: httpx.Client, run: Evaluation
) -> None:
    with platform.transaction(Actor("local-admin", frozenset({"admin"}))) as tx:
        exam = versions.get(tx, run.dataset_id)
    other = answered(platform, model_of(platform, "two"), exam, ["x", "y", "z", "w"])
    review = opened(api, run, PAIRWISE, otherEvaluationId=str(other.id))
    for who in (ANN, BEN):
        assert handed_in(api, run, who, {at: {"better": "first"} for at in (0, 1, 3)}).status_code == 200
    api.post(f"/evaluation/reviews/{review}/close", json={})
    assert by_people(api, run)["result"]["metrics"]["better"]["value"] == 1.0


def test_wrong_ratings_are_all_named_and_none_is_taken(api: httpx.Client, run: Evaluation) -> None:
    opened(api, run)
    values = {0: {"helpful": 9, "safe": "pass"}, 1: {"helpful": 3, "safe": "pass"}, 2: {"helpful": 3, "safe": "pass"}}
    refused = handed_in(api, run, ANN, values)
    assert refused.status_code == 422
    problems = {problem["path"]: problem["remedy"] for problem in refused.json()["data"]["errors"]}
    assert problems == {
        "ratings.0.values.helpful": "Give a whole number from 1 to 5.",
        "ratings.2.sample": "Yours are 0, 1, 3.",
    }
    assert handed_in(api, run, ANN, {0: {"helpful": 2, "safe": "pass"}}).json()["data"]["judged"] == 1


def test_whoever_does_not_judge_or_speaks_for_another_is_refused(api: httpx.Client, run: Evaluation) -> None:
    good = {0: {"helpful": 5, "safe": "pass"}}
    assert handed_in(api, run, ANN, good).status_code == 409  # nothing is open
    review = opened(api, run)
    assert handed_in(api, run, CAT, good).status_code == 403
    assert handed_in(api, run, ANN, good, reviewerId="ben").status_code == 403
    another = opened(api, run)
    ambiguous = handed_in(api, run, ANN, good)
    assert ambiguous.status_code == 422
    assert review in ambiguous.text
    assert another in ambiguous.text
    assert handed_in(api, run, ANN, good, reviewId=review).status_code == 200


def test_evaluations_are_filtered_by_what_gave_their_figures(api: httpx.Client, run: Evaluation) -> None:
    opened(api, run)

    def types(**params: str) -> list[str]:
        return [each["runType"] for each in api.get("/evaluation/runs", params=params).json()["data"]]

    assert types() == ["human", "automated"]
    assert types(runType="automated") == ["automated"]
    assert types(runType="llm_judge") == []
    assert types(endDate="2020-01-01T00:00:00Z") == []
    assert api.get("/evaluation/runs", params={"runType": "magic"}).status_code == 422
    asked = {"modelId": str(run.model_id), "datasetId": str(run.dataset_id), "runType": "human"}
    refused = api.post("/evaluation/runs", json=asked)
    assert refused.status_code == 422
    assert refused.json()["data"]["errors"][0]["path"] == "review"
