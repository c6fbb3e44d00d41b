"""Reviews by people through HTTP: set up, joined, judged, adjudicated, closed; permissions, blindness and the log."""

import csv
import io
import logging
from typing import Any

import httpx
import pytest

from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.evaluation.reviewing import ABSOLUTE, PAIRWISE, answered, benchmark, body, headers, model_of

ANN, BEN, ZOE = (headers(name) for name in ("ann", "ben", "zoe"))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Several people, so that the rules between them count."""
    return settings.model_copy(update={"single_user": False})


@pytest.fixture
def run(platform: Platform) -> Evaluation:
    return answered(platform, model_of(platform, "one"), benchmark(platform), ["a", "=SUM(A1)", "c"])


def _rubric(api: httpx.Client) -> str:
    answer = api.post("/evaluation/rubrics", json=ABSOLUTE.json_dict())
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["digest"])


def _opened(api: httpx.Client, run: Evaluation, **more: Any) -> str:
    answer = api.post("/evaluation/reviews", json=body(run.id, _rubric(api), **more))
    assert answer.status_code == 200, answer.text
    return f"/evaluation/reviews/{answer.json()['data']['id']}"


def _judge(api: httpx.Client, path: str, who: dict[str, str], helpful: int, reason: str = "") -> httpx.Response:
    shown = api.get(f"{path}/task", headers=who).json()["data"]
    given = {
        "values": {"helpful": helpful, "safe": "pass"}, "reason": reason, "shown": shown["digest"],
        "revision": shown["revision"],
    }  # fmt: skip
    return api.post(f"{path}/units/{shown['number']}/scores", json=given, headers=who)


def test_a_review_from_the_rubric_to_the_result(api: httpx.Client, run: Evaluation) -> None:
    path = _opened(api, run, adjudicator="zoe")
    mine = api.get("/evaluation/reviews/mine", headers=ANN).json()["data"]
    assert [(it["total"], it["done"], it["rubric"]["name"]) for it in mine] == [(3, 0, "answers")]
    for who, helpful in ((ANN, 5), (BEN, 1)):
        for _unit in range(3):
            assert _judge(api, path, who, helpful).status_code == 200
    summary = api.get(f"{path}/summary").json()["data"]
    assert (summary["judged"], summary["slots"], summary["disagreements"]) == (6, 6, 3)
    kappa = summary["criteria"][0]["agreement"][1]
    assert (kappa["name"], kappa["estimate"]["value"]) == ("cohen_kappa", 0.0)
    assert api.post(f"{path}/close", json={}).status_code == 409
    for apart in api.get(f"{path}/disagreements", headers=ZOE).json()["data"]:
        verdict = {"values": {"helpful": 4, "safe": "pass"}, "reason": "read twice", "shown": apart["digest"]}
        answer = api.post(f"{path}/units/{apart['number']}/adjudication", json=verdict, headers=ZOE)
        assert answer.json()["data"]["settled"]["values"]["helpful"] == 4
    closed = api.post(f"{path}/close", json={}).json()["data"]
    assert closed["result"]["criteria"][0]["estimate"]["value"] == 4
    actions = {it["action"] for it in api.get("/audit/logs", params={"resourceType": "review"}).json()["data"]}
    assert actions == {"review.open", "review.score", "review.adjudicate", "review.close"}
    assert api.get("/audit/verify").json()["data"]["intact"]


def test_every_judgement_is_exported_with_what_counts_and_no_formula(api: httpx.Client, run: Evaluation) -> None:
    path = _opened(api, run)
    for _unit in range(3):
        assert _judge(api, path, ANN, 5, "=1+1").status_code == 200
    assert _judge(api, path, BEN, 2).status_code == 200
    first = api.get(f"{path}/task", params={"place": 1}, headers=ANN).json()["data"]
    again = {"values": {"helpful": 1, "safe": "fail"}, "reason": "read again", "shown": first["digest"], "revision": 1}
    assert api.post(f"{path}/units/{first['number']}/scores", json=again, headers=ANN).status_code == 200
    said = api.get(f"{path}/export").json()
    mine = [(it["revision"], it["values"]["helpful"], it["counts"]) for it in said if it["unit"] == first["number"]
            and it["reviewer"] == "ann"]  # fmt: skip
    assert mine == [(1, 5.0, False), (2, 1.0, True)]
    assert len(said) == 5
    table = list(csv.DictReader(io.StringIO(api.get(f"{path}/export", params={"format": "csv"}).text)))
    assert len(table) == 5
    assert not any(str(cell).startswith(("=", "+", "-", "@")) for line in table for cell in line.values())
    assert {line["answer"].lstrip("'") for line in table} == {"a", "=SUM(A1)", "c"}
    assert api.get(f"{path}/export", headers=ANN).status_code == 403


def test_the_same_request_under_a_key_opens_one_review(api: httpx.Client, run: Evaluation) -> None:
    sent = body(run.id, _rubric(api))
    key = {"Idempotency-Key": "once"}
    ids = {api.post("/evaluation/reviews", json=sent, headers=key).json()["data"]["id"] for _ in range(3)}
    assert len(ids) == 1
    assert len(api.get("/evaluation/reviews", params={"evaluationId": str(run.id)}).json()["data"]) == 1


def test_what_somebody_may_not_do_is_refused_and_audited(api: httpx.Client, run: Evaluation) -> None:
    path = _opened(api, run)
    nobody, developer = headers("vic", "viewer"), headers("dev", "service_developer")
    assert api.get("/evaluation/reviews/mine", headers=nobody).status_code == 403
    assert api.get("/evaluation/rubrics", headers=nobody).status_code == 403
    assert api.post("/evaluation/reviews", json=body(run.id, "x"), headers=developer).status_code == 403
    assert api.post(f"{path}/close", json={"reason": "x"}, headers=developer).status_code == 403
    assert api.post(f"{path}/join", headers=developer).status_code == 403
    assert api.get(f"{path}/task", headers=developer).status_code == 403
    refused = api.post("/evaluation/reviews", json=body(run.id, _rubric(api), reviewers=["ann", "olga"]))
    assert refused.status_code == 403
    assert "created the model" in refused.json()["message"]
    for act in ("assign", "exclude", "release", "adjudicator"):
        sent = {"person": "cat", **({"reason": "x"} if act in {"exclude", "release"} else {})}
        assert api.post(f"{path}/{act}", json=sent, headers=ANN).status_code == 403, act
    denied = [it["action"] for it in api.get("/audit/logs").json()["data"] if it["result"] == "denied"]
    assert {"review.open", "review.join", "review.assign", "review:manage", "review:score"} <= set(denied)


def test_a_stale_judgement_is_a_conflict_and_a_wrong_one_names_its_fields(api: httpx.Client, run: Evaluation) -> None:
    path = _opened(api, run)
    shown = api.get(f"{path}/task", headers=ANN).json()["data"]
    unit = f"{path}/units/{shown['number']}/scores"
    good = {"values": {"helpful": 3, "safe": "pass"}, "shown": shown["digest"]}
    assert api.post(unit, json={**good, "shown": "sha256:0"}, headers=ANN).status_code == 409
    wrong = api.post(unit, json={**good, "values": {"helpful": 9}}, headers=ANN)
    assert wrong.status_code == 422
    assert [it["path"] for it in wrong.json()["data"]["errors"]] == ["values.helpful", "values.safe"]
    assert api.post(unit, json={**good, "reason": "x" * 5_000}, headers=ANN).status_code == 422
    assert api.post(unit, json={**good, "reason": "nul \0"}, headers=ANN).status_code == 422
    assert [api.post(unit, json=good, headers=ANN).json()["data"]["revision"] for _ in range(2)] == [1, 1]
    other = api.post(unit, json={**good, "values": {"helpful": 1, "safe": "fail"}, "reason": "old tab"}, headers=ANN)
    assert other.status_code == 409


def test_a_reason_is_neither_in_the_programs_log_nor_in_the_audit_log(
    api: httpx.Client, run: Evaluation, caplog: pytest.LogCaptureFixture
) -> None:
    path = _opened(api, run)
    secret = "sk-verysecret\n2026-01-01 [error] forged line"
    with caplog.at_level(logging.DEBUG):
        assert _judge(api, path, ANN, 2, secret).status_code == 200
    assert caplog.text
    assert "verysecret" not in caplog.text
    assert "verysecret" not in api.get("/audit/logs").text
    assert api.get(f"{path}/task", params={"place": 1}, headers=ANN).json()["data"]["reason"] == secret


def test_a_rubric_that_mixes_comparing_and_judging_is_refused(api: httpx.Client) -> None:
    both = [*ABSOLUTE.json_dict()["criteria"], *PAIRWISE.json_dict()["criteria"]]
    mixed = {**ABSOLUTE.json_dict(), "criteria": both}
    answer = api.post("/evaluation/rubrics", json=mixed)
    assert answer.status_code == 422
    steps = {**ABSOLUTE.json_dict(), "criteria": [{**ABSOLUTE.json_dict()["criteria"][0], "high": 99}]}
    assert api.post("/evaluation/rubrics", json=steps).status_code == 422


def test_a_review_of_an_unknown_evaluation_or_by_an_unknown_rubric_is_not_found(
    api: httpx.Client, run: Evaluation
) -> None:
    assert api.post("/evaluation/reviews", json=body(run.model_id, _rubric(api))).status_code == 404
    assert api.post("/evaluation/reviews", json=body(run.id, "sha256:0")).status_code == 404
    assert api.get(f"/evaluation/reviews/{run.id}").status_code == 404
