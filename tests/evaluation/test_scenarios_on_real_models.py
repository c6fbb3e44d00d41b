"""Evaluation through HTTP: models that really answer are scored, compared, and judged by people and models."""

import csv
import io
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  fixtures
from tests.assets.conftest import Materialize
from tests.assets.conftest import instance as instance  # noqa: PLC0414
from tests.assets.conftest import materialize as materialize  # noqa: PLC0414
from tests.evaluation.judge_server import JudgeServer
from tests.evaluation.judge_server import server as server  # noqa: PLC0414  a fixture
from tests.evaluation.judge_server import settings as settings  # noqa: PLC0414  a fixture
from tests.evaluation.real_models import ASSET, RIGHT, ROWS, TOKENS, exam
from tests.evaluation.reviewing import headers
from tests.evaluation.test_judging import outside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
METRICS = ["exact_match", "f1", "bleu", "rouge1", "rouge2", "rougeL", "perplexity"]
RIGHT_OR_WRONG = {"name": "right", "question": "Is it right?", "kind": "scale"}


def test_models_that_answer_are_scored_compared_and_judged_by_people_and_models(
    platform: Platform, api: httpx.Client, server: JudgeServer, materialize: Materialize, tmp_path: Path
) -> None:
    first, second, benchmark = exam(platform, tmp_path)
    how = {"metrics": METRICS, "maxNewTokens": TOKENS}
    sent = {"modelIds": [str(first.id), str(second.id)], "datasetId": str(benchmark.id), **how}
    batch = api.post("/evaluation/runs/batch", json=sent).json()["data"]
    for run in batch["runs"]:
        assert materialize(ASSET, row=f"{run['id']}:1").success
    one, two = (api.get(f"/evaluation/runs/{run['id']}").json()["data"] for run in batch["runs"])
    for run in (one, two):
        assert run["state"]["status"] == "succeeded", run["state"]["error"]
        assert set(run["result"]["metrics"]) == set(METRICS)
        assert run["result"]["counts"] == {"total": ROWS, "scored": ROWS, "unscored": 0}
        assert run["result"]["metrics"]["perplexity"]["value"] > 1
    assert two["result"]["metrics"]["exact_match"]["value"] == RIGHT / ROWS
    assert one["result"]["metrics"]["exact_match"]["value"] < RIGHT / ROWS
    assert [sample["scores"]["exact_match"] for sample in two["result"]["samples"]] == [1.0] * RIGHT + [0.0] * 10

    (gain,) = api.get("/evaluation/runs/compare", params={"runIds": f"{one['id']},{two['id']}"}).json()["data"]
    assert (gain["comparable"], gain["recommendation"]["advice"]) == (True, "promote"), gain
    (step,) = api.get("/evaluation/runs/trend", params={"model": "tiny", "benchmark": "exam"}).json()["data"]
    assert (step["first"]["id"], step["second"]["id"]) == (one["id"], two["id"])
    _people_judge(api, two)
    _a_model_judges(api, outside(platform, server, "arbiter"), two, materialize)
    judged = api.get("/evaluation/runs", params={"judgedId": two["id"]}).json()["data"]
    assert sorted(run["runType"] for run in judged) == ["human", "llm_judge"]
    table = api.get(f"/evaluation/runs/{two['id']}/export", params={"format": "csv"}).text
    assert sum(line[:1] == ["tiny 2"] for line in csv.reader(io.StringIO(table))) == len(METRICS)


def _people_judge(api: httpx.Client, run: Any) -> None:
    """Two people of a role take their units, say what is right, and agree."""
    rubric = api.post("/evaluation/rubrics", json={"name": "rightness", "criteria": [RIGHT_OR_WRONG]}).json()["data"]
    plan = {"evaluationId": run["id"], "rubric": rubric["digest"], "roles": ["reviewer"], "overlap": 2, "sampleSize": 5}
    review = api.post("/evaluation/reviews", json=plan).json()["data"]["id"]
    for name in ("ann", "ben"):
        assert api.post(f"/evaluation/reviews/{review}/join", headers=headers(name)).status_code == 200
        for place in range(1, 6):
            where = {"params": {"place": place}, "headers": headers(name)}
            task = api.get(f"/evaluation/reviews/{review}/task", **where).json()["data"]
            right = 5 if task["answers"][0] == task["expected"] else 1
            path = f"/evaluation/reviews/{review}/units/{task['number']}/scores"
            given = {"values": {"right": right}, "shown": task["digest"]}
            assert api.post(path, json=given, headers=headers(name)).status_code == 200
    assert api.post(f"/evaluation/reviews/{review}/close", json={}).status_code == 200
    (done,) = api.get("/evaluation/runs", params={"judgedId": run["id"], "runType": "human"}).json()["data"]
    assert done["result"]["counts"]["scored"] == 5
    assert done["result"]["reviewed"]["criteria"][0]["agreement"][0]["name"] == "krippendorff_alpha"


def _a_model_judges(api: httpx.Client, judge: UUID, run: Any, materialize: Materialize) -> None:
    """One that says 5 of what equals the reference, and 1 of everything else."""
    with_a_model = {"judges": [{"modelId": str(judge)}], "criteria": [RIGHT_OR_WRONG]}
    made = api.post(f"/evaluation/runs/{run['id']}/llm-judge", json=with_a_model).json()["data"]
    assert materialize(ASSET, row=f"{made['id']}:1").success
    done = api.get(f"/evaluation/runs/{made['id']}").json()["data"]
    assert done["result"]["metrics"]["right"]["n"] == ROWS
    assert done["result"]["metrics"]["right"]["value"] == pytest.approx((5 * RIGHT + ROWS - RIGHT) / ROWS)
