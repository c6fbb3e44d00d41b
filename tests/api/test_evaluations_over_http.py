"""Evaluations that are compared, followed over versions and exported."""

import csv
import io
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.evaluation import gate_verdicts, runs
from llmops_resources.evaluation.runs import Counts, Evaluation, Result, Sample
from llmops_resources.evaluation.scores import Score
from llmops_resources.evaluation.suite import MetricName, Suite
from llmops_resources.platform import Platform
from tests.api.shell import Shell
from tests.factories import approved, uploaded

PROTOCOL: dict[str, Any] = {
    "asked": "as it is", "columns": {"prompt": "question", "answer": "answer"}, "precision": "float32",
    "decoding": {"method": "greedy", "maxNewTokens": 48}, "sample": {"size": None, "seed": 0}, "tokenization": "words",
    "tokenizer": "sha256:a", "window": None, "scorers": {"f1": "SQuAD", "perplexity": "by tokens"},
}  # fmt: skip


def finished(
    platform: Platform, model_id: UUID, dataset_id: UUID, f1: list[float], answer: str = "an answer", **protocol: Any
) -> Evaluation:
    samples = tuple(
        Sample(index=at, input="q", expected="e", actual=answer, scores={"f1": value, "perplexity": 2.0})
        for at, value in enumerate(f1)
    )
    result = Result(
        metrics={
            "f1": Score(value=sum(f1) / len(f1), n=len(f1), low=0.0, high=1.0),
            "perplexity": Score(value=2.0, n=len(f1)),
        },
        protocol=PROTOCOL | protocol,
        samples=samples,
        counts=Counts(total=len(f1), scored=len(f1), unscored=0),
    )
    with platform.transaction(Actor("system:dagster")) as tx:
        suite = Suite(metrics=(MetricName.F1, MetricName.PERPLEXITY))
        run = runs.request(tx, model_id=model_id, dataset_id=dataset_id, suite=suite)
        runs.claim(tx, run.id, attempt=1, run_id="r")
        return gate_verdicts.finish(tx, run.id, result, run_id="r")


@pytest.fixture
def benchmark(platform: Platform) -> UUID:
    return approved(platform, Kind.DATASET, "facts").id


@pytest.fixture
def models(platform: Platform) -> list[UUID]:
    return [uploaded(platform, Kind.MODEL, "tiny", version=str(number)).id for number in (1, 2)]


def _quarter_and_half(platform: Platform, benchmark: UUID, models: list[UUID]) -> tuple[Evaluation, Evaluation]:
    first, second = models
    return finished(platform, first, benchmark, [0.25] * 40), finished(platform, second, benchmark, [0.5] * 40)


def compared(api: httpx.Client, *found: Evaluation) -> Any:
    answer = api.get("/evaluation/runs/compare", params={"run": [str(run.id) for run in found]})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_two_runs_differ_by_their_pairs_with_an_interval_that_chance_explains_or_not(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    first = finished(platform, models[0], benchmark, [0.0, 0.5] * 20)
    second = finished(platform, models[1], benchmark, [0.25, 0.75] * 20)
    (found,) = compared(api, first, second)
    assert found["comparable"]
    assert found["differences"] == []
    f1, perplexity = found["metrics"]
    assert f1["difference"] == {"value": 0.25, "n": 40, "low": 0.25, "high": 0.25}
    assert perplexity["difference"] is None
    assert "two intervals" in perplexity["reason"]
    assert found["first"]["result"]["samples"] == []


@pytest.mark.parametrize("field", ["asked", "columns", "decoding", "sample", "tokenization", "precision"])
def test_runs_under_another_protocol_are_refused_with_the_field(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID], field: str
) -> None:
    first = finished(platform, models[0], benchmark, [0.5])
    second = finished(platform, models[1], benchmark, [0.5], **{field: "other"})
    (found,) = compared(api, first, second)
    assert (found["comparable"], found["metrics"]) == (False, [])
    assert [(d["field"], d["second"]) for d in found["differences"]] == [(field, "other")]


def test_perplexity_by_tokens_is_not_compared_between_tokenizers_nor_a_metric_between_scorers(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    first = finished(platform, models[0], benchmark, [0.5])
    scorers = {"f1": "KorQuAD", "perplexity": "by tokens"}
    second = finished(platform, models[1], benchmark, [0.5], tokenizer="sha256:b", scorers=scorers)
    (found,) = compared(api, first, second)
    reasons = {metric["metric"]: metric["reason"] for metric in found["metrics"]}
    assert reasons["f1"] == "scored in two ways: SQuAD and KorQuAD"
    assert "byte_perplexity" in reasons["perplexity"]


def test_other_contents_and_a_run_that_is_not_done_are_refused(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    first = finished(platform, models[0], benchmark, [0.5])
    other = approved(platform, Kind.DATASET, "others", files={"part-0001.csv": b"question,answer\nx,y\n"})
    second = finished(platform, models[1], other.id, [0.5])
    (found,) = compared(api, first, second)
    assert [d["field"] for d in found["differences"]] == ["dataset"]
    with platform.transaction(Actor("system:dagster")) as tx:
        waiting = runs.request(tx, model_id=models[1], dataset_id=benchmark)
    (found,) = compared(api, first, waiting)
    assert found["differences"][0]["reason"] == "the second run is queued, not done"
    assert api.get("/evaluation/runs/compare", params={"run": str(first.id)}).status_code == 422


def test_a_model_that_gains_beyond_chance_is_recommended_and_one_that_loses_or_failed_its_gate_is_not(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    first, better = _quarter_and_half(platform, benchmark, models)
    (gains,) = compared(api, first, better)
    assert gains["recommendation"]["advice"] == "promote"
    assert gains["recommendation"]["reasons"] == ["f1 differs by +0.250 (+0.250 to +0.250) over 40 samples"]
    (loses,) = compared(api, better, first)
    assert loses["recommendation"]["advice"] == "keep"
    same = finished(platform, models[1], benchmark, [0.25] * 40)
    (equal,) = compared(api, first, same)
    assert equal["recommendation"] == {
        "advice": "undecided", "reasons": ["no metric differs by more than chance explains"],
    }  # fmt: skip
    bar = {"kind": "threshold", "metric": "f1", "atLeast": 0.9}
    gate = {"name": "bar", "model": "tiny", "benchmark": "facts", "conditions": [bar]}
    assert api.post("/evaluation/gates", json=gate).status_code == 200
    (unjudged,) = compared(api, first, better)
    assert unjudged["recommendation"]["advice"] == "undecided"
    assert "the gate bar on facts has not judged it" in unjudged["recommendation"]["reasons"]
    failed = finished(platform, models[1], benchmark, [0.5] * 40)
    (stopped,) = compared(api, first, failed)
    assert stopped["recommendation"]["advice"] == "keep"
    assert any("f1 at least 0.9: not shown" in reason for reason in stopped["recommendation"]["reasons"])


def test_runs_to_compare_are_given_in_one_parameter_too_and_the_comparison_is_exported_without_formulas(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    first, second = _quarter_and_half(platform, benchmark, models)
    together = {"runIds": f"{first.id},{second.id}"}
    found = api.get("/evaluation/runs/compare", params=together).json()["data"]
    assert found == compared(api, first, second)
    assert api.get("/evaluation/runs/compare/export", params=together).json() == found
    table = api.get("/evaluation/runs/compare/export", params=together | {"format": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(table.text)))
    assert [(line["model"], line["metric"], line["difference"], line["pairs"]) for line in lines] == [
        ("tiny 2", "f1", "0.25", "40"), ("tiny 2", "perplexity", "", ""),
    ]  # fmt: skip
    assert lines[0]["advice"].startswith("promote: f1 differs")
    refused = api.get("/evaluation/runs/compare", params={"runIds": f"{first.id},nobody"})
    assert refused.status_code == 422
    assert refused.json()["data"]["errors"][0]["path"] == "runIds"


def test_the_trend_of_a_model_has_each_version_beside_the_one_before(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    made = [finished(platform, model, benchmark, [value] * 3) for model, value in zip(models, (0.25, 0.5), strict=True)]
    made.append(finished(platform, models[1], benchmark, [0.5], precision="bfloat16"))
    found = api.get("/evaluation/runs/trend", params={"model": "tiny", "benchmark": "facts"}).json()["data"]
    assert [(c["first"]["id"], c["second"]["id"]) for c in found] == [
        (str(made[0].id), str(made[1].id)),
        (str(made[1].id), str(made[2].id)),
    ]
    assert [c["comparable"] for c in found] == [True, False]
    assert found[0]["metrics"][0]["difference"]["value"] == 0.25


def test_an_export_holds_every_sample_and_no_formula(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    run = finished(platform, models[0], benchmark, [0.5, 1.0], answer="=HYPERLINK(1)")
    exported = api.get(f"/evaluation/runs/{run.id}/export", params={"format": "csv"})
    assert "attachment" in exported.headers["content-disposition"]
    rows = list(csv.reader(io.StringIO(exported.text)))
    assert rows[1][2:4] == ["f1", "0.75"]
    assert [row[3] for row in rows[-2:]] == ["'=HYPERLINK(1)"] * 2
    whole = api.get(f"/evaluation/runs/{run.id}/export").json()
    assert [sample["actual"] for sample in whole["result"]["samples"]] == ["=HYPERLINK(1)"] * 2


def test_an_answer_with_a_character_that_the_database_cannot_hold_costs_no_result(
    platform: Platform, api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    run = finished(platform, models[0], benchmark, [0.5], answer="before\0after")
    found = api.get(f"/evaluation/runs/{run.id}").json()["data"]["result"]
    assert [sample["actual"] for sample in found["samples"]] == ["before\ufffdafter"]


def test_the_command_line_shows_the_difference_and_the_reason(
    platform: Platform, llmops: Shell, benchmark: UUID, models: list[UUID], tmp_path: Path
) -> None:
    first = finished(platform, models[0], benchmark, [0.0, 0.5])
    second = finished(platform, models[1], benchmark, [0.5, 1.0])
    shown = llmops("evaluations", "compare", str(first.id), str(second.id))
    assert "tiny 2 against tiny 1" in shown
    assert "+0.500" in shown
    assert "Advice: promote: f1 differs by +0.500" in shown
    llmops("evaluations", "export", str(first.id), str(tmp_path / "it.csv"))
    assert (tmp_path / "it.csv").read_text().startswith('"model","benchmark"')


def test_a_batch_is_requested_whole_once_under_a_key_and_found_by_its_id(
    api: httpx.Client, benchmark: UUID, models: list[UUID]
) -> None:
    body = {"modelIds": [str(model) for model in models], "datasetId": str(benchmark), "metrics": ["f1"]}
    made, again = (
        api.post("/evaluation/runs/batch", json=body, headers={"Idempotency-Key": "nightly"}) for _ in range(2)
    )
    assert made.status_code == 200, made.text
    batch = made.json()["data"]
    assert again.json()["data"] == batch
    assert [run["modelId"] for run in batch["runs"]] == body["modelIds"]
    assert api.post("/evaluation/runs", json={"modelId": str(models[0]), "datasetId": str(benchmark)}).is_success
    found = api.get("/evaluation/runs", params={"batchId": batch["id"]}).json()["data"]
    assert {run["id"] for run in found} == {run["id"] for run in batch["runs"]}
    assert all(run["batchId"] == batch["id"] and run["suite"]["metrics"] == ["f1"] for run in found)


def test_a_batch_with_bad_items_names_each_and_requests_nothing(
    platform: Platform, api: httpx.Client, models: list[UUID]
) -> None:
    draft = uploaded(platform, Kind.DATASET, "draft").id
    asked = [models[0], UUID(int=7), models[0], models[1]]
    body = {"modelIds": [str(model) for model in asked], "datasetId": str(draft)}
    refused = api.post("/evaluation/runs/batch", json=body)
    assert refused.status_code == 422, refused.text
    assert [it["path"] for it in refused.json()["data"]["errors"]] == ["datasetId", "modelIds.1", "modelIds.2"]
    assert api.get("/evaluation/runs").json()["data"] == []


def test_the_command_line_requests_a_batch_and_lists_it(
    platform: Platform, llmops: Shell, benchmark: UUID, models: list[UUID]
) -> None:
    asked = ("evaluations", "create", "tiny@1", "facts", "--model", "tiny@2", "--no-wait")
    batch = llmops.json(*asked)
    assert [run["modelId"] for run in batch["runs"]] == [str(model) for model in models]
    llmops(*asked)
    found = llmops.json("evaluations", "list", "--batch", batch["id"])
    assert {run["id"] for run in found} == {run["id"] for run in batch["runs"]}
