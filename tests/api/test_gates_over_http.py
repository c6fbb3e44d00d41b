"""A gate is declared, judges what is evaluated later, and its verdict decides whether the model can be approved."""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from llmops_resources.catalog.evidence import EvidenceKind, of_version
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.errors import Forbidden
from llmops_resources.evaluation import gate_verdicts, runs
from llmops_resources.evaluation.gate_conditions import Threshold
from llmops_resources.evaluation.gates import Gate
from llmops_resources.evaluation.runs import Counts, Evaluation, Result, Sample, Score
from llmops_resources.evaluation.suite import MetricName
from llmops_resources.platform import Platform
from tests.api.shell import Shell
from tests.api.test_evaluations_over_http import PROTOCOL
from tests.factories import approve, approved, uploaded

AT_LEAST_HALF: dict[str, Any] = {"kind": "threshold", "metric": "f1", "atLeast": 0.5}
NOT_WORSE: dict[str, Any] = {"kind": "non_inferiority", "metric": "f1", "margin": 0.1}


@pytest.fixture
def benchmark(platform: Platform) -> UUID:
    return approved(platform, Kind.DATASET, "facts").id


def declare(api: httpx.Client, *conditions: dict[str, Any], name: str = "bar") -> Any:
    body = {"name": name, "model": "tiny", "benchmark": "facts", "conditions": conditions}
    answer = api.post("/evaluation/gates", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def model(platform: Platform, version: str) -> UUID:
    return uploaded(platform, Kind.MODEL, "tiny", version=version).id


def requested(platform: Platform, model_id: UUID, dataset_id: UUID) -> UUID:
    with platform.transaction(Actor("system:dagster")) as tx:
        run = runs.request(tx, model_id=model_id, dataset_id=dataset_id)
        runs.claim(tx, run.id, attempt=1, run_id="r")
        return run.id


def finished(platform: Platform, run_id: UUID, f1: list[float | None], **protocol: Any) -> Evaluation:
    samples = tuple(
        Sample(index=at, input="q", expected="e", actual=None, scores={} if value is None else {"f1": value})
        for at, value in enumerate(f1)
    )
    known = [value for value in f1 if value is not None]
    metrics = {"f1": Score(value=sum(known) / len(known), n=len(known))}
    counts = Counts(total=len(f1), scored=len(known), unscored=len(f1) - len(known))
    result = Result(metrics=metrics, protocol=PROTOCOL | protocol, samples=samples, counts=counts)
    with platform.transaction(Actor("system:dagster")) as tx:
        return gate_verdicts.finish(tx, run_id, result, run_id="r")


def evaluated(platform: Platform, model_id: UUID, dataset_id: UUID, f1: list[float | None], **more: Any) -> Evaluation:
    return finished(platform, requested(platform, model_id, dataset_id), f1, **more)


def verdict(api: httpx.Client, run: Evaluation) -> Any:
    (found,) = api.get(f"/evaluation/runs/{run.id}/verdicts").json()["data"]
    return found["verdict"]


def approval(api: httpx.Client, model_id: UUID) -> httpx.Response:
    api.patch(f"/catalog/models/{model_id}/status", json={"status": "under_review"})
    return api.patch(f"/catalog/models/{model_id}/status", json={"status": "approved"})


def test_a_model_that_shows_less_than_the_gate_asks_is_not_approved_and_the_next_that_passes_is(
    platform: Platform, api: httpx.Client, benchmark: UUID
) -> None:
    declare(api, AT_LEAST_HALF)
    weak, strong = model(platform, "1"), model(platform, "2")
    never = approval(api, weak)
    assert never.status_code == 409
    assert "the gate bar on facts has not judged it" in never.json()["message"]

    run = evaluated(platform, weak, benchmark, [0.0, 1.0] * 100)  # the point is on the bar; its bound is not
    said = verdict(api, run)
    assert said["outcome"] == "failed"
    assert said["judgements"][0]["figure"] == 0.5
    assert said["judgements"][0]["bound"] < 0.5
    refused = approval(api, weak)
    assert refused.status_code == 409
    assert said["reasons"][0] in refused.json()["message"]
    with platform.transaction(Actor("system:dagster")) as tx:
        (found,) = of_version(tx, weak, EvidenceKind.GATE)
    assert (found.passed, found.summary["reasons"]) == (False, said["reasons"])

    said = verdict(api, evaluated(platform, strong, benchmark, [0.0, 1.0, 1.0, 1.0] * 50))
    assert (said["outcome"], said["look"]) == ("passed", 2)
    assert approval(api, strong).status_code == 200


def test_a_gate_that_was_declared_after_the_evaluation_was_asked_for_does_not_judge_it(
    platform: Platform, api: httpx.Client, benchmark: UUID
) -> None:
    tiny = model(platform, "1")
    run_id = requested(platform, tiny, benchmark)
    declare(api, AT_LEAST_HALF)
    said = verdict(api, finished(platform, run_id, [1.0] * 200))
    assert said["outcome"] == "unknown"
    assert "declared" in said["reasons"][0]
    assert (said["look"], said["alpha"]) == (0, 0.0)
    assert approval(api, tiny).status_code == 409
    assert verdict(api, evaluated(platform, tiny, benchmark, [1.0] * 200))["look"] == 1
    assert approval(api, tiny).status_code == 200


def test_a_model_is_not_inferior_when_pairs_show_it_and_unknown_when_there_is_nothing_to_pair(
    platform: Platform, api: httpx.Client, benchmark: UUID
) -> None:
    first, second, third = (model(platform, version) for version in "123")
    before: list[float | None] = [0.0, 1.0] * 100
    evaluated(platform, first, benchmark, before)
    approve(platform, first)
    declare(api, NOT_WORSE)
    same = verdict(api, evaluated(platform, second, benchmark, before))
    assert same["outcome"] == "passed", same
    assert same["judgements"][0]["figure"] == 0.0
    assert same["judgements"][0]["bound"] > -0.1
    other = verdict(api, evaluated(platform, second, benchmark, before, precision="bfloat16"))
    assert other["outcome"] == "unknown"
    assert "protocols differ in precision" in other["reasons"][0]
    worse = verdict(api, evaluated(platform, third, benchmark, [0.0, 0.0, 0.0, 1.0] * 50))
    assert worse["outcome"] == "failed"
    assert worse["judgements"][0]["figure"] == -0.25


def test_too_few_samples_and_missing_scores_are_never_a_pass(
    platform: Platform, api: httpx.Client, benchmark: UUID
) -> None:
    declare(api, AT_LEAST_HALF)
    tiny = model(platform, "1")
    few = verdict(api, evaluated(platform, tiny, benchmark, [1.0] * 29))
    assert few["outcome"] == "unknown"
    assert "29 samples" in few["reasons"][0]
    assert few["look"] == 0
    half = verdict(api, evaluated(platform, tiny, benchmark, [1.0, None] * 100))
    assert (half["outcome"], half["look"]) == ("failed", 1)
    assert "100 without a score count as the worst" in half["reasons"][0]


def test_a_new_version_of_a_gate_needs_a_new_verdict_keeps_the_count_of_looks_and_none_withdraws_it(
    platform: Platform, api: httpx.Client, benchmark: UUID
) -> None:
    first = declare(api, AT_LEAST_HALF)
    assert declare(api, AT_LEAST_HALF) == first
    tiny = model(platform, "1")
    assert verdict(api, evaluated(platform, tiny, benchmark, [1.0] * 100))["look"] == 1
    second = declare(api, AT_LEAST_HALF | {"atLeast": 0.75})
    assert second["id"] != first["id"]
    assert approval(api, tiny).status_code == 409
    assert verdict(api, evaluated(platform, tiny, benchmark, [1.0] * 100))["look"] == 2
    assert not api.get(f"/evaluation/gates/{first['id']}").json()["data"]["inForce"]
    declare(api)
    assert [gate["inForce"] for gate in api.get("/evaluation/gates").json()["data"]] == [False] * 3
    other = model(platform, "2")
    assert approval(api, other).status_code == 200


def test_only_who_approves_models_declares_and_what_is_declared_stays(
    platform: Platform, api: httpx.Client, benchmark: UUID
) -> None:
    gate = Gate(
        name="bar", model="tiny", benchmark="facts", conditions=(Threshold(metric=MetricName.F1, at_least=0.5),)
    )
    maker = Actor("max", frozenset({"ml_engineer"}))
    with pytest.raises(Forbidden, match="gate:declare"), platform.transaction(maker) as tx:
        gate_verdicts.declare(tx, gate)
    declare(api, AT_LEAST_HALF)
    with pytest.raises(DBAPIError, match="only ever added"), platform.transaction(maker) as tx:
        tx.session.execute(text("UPDATE gates SET created_at = '2000-01-01'"))
    bleu = {"kind": "threshold", "metric": "bleu", "atLeast": 0.3}
    body = {"name": "bar", "model": "tiny", "benchmark": "facts", "conditions": [bleu]}
    refused = api.post("/evaluation/gates", json=body)
    assert refused.status_code == 422
    assert "no bounded score of one sample" in refused.text
    nowhere = api.post("/evaluation/gates", json=body | {"benchmark": "nowhere", "conditions": []})
    assert nowhere.json()["data"]["errors"][0]["path"] == "benchmark"


def test_the_command_line_declares_lists_and_shows_a_gate_and_its_verdict(
    platform: Platform, llmops: Shell, benchmark: UUID, tmp_path: Path
) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        'name = "bar"\nmodel = "tiny"\nbenchmark = "facts"\n'
        '[[conditions]]\nkind = "threshold"\nmetric = "f1"\natLeast = 0.5\n'
    )
    gate = llmops.json("gates", "declare", str(file))
    assert "bar" in llmops("gates", "list", "--model", "tiny")
    assert "at least 0.5" in llmops("gates", "show", gate["id"])
    run = evaluated(platform, model(platform, "1"), benchmark, [1.0] * 100)
    assert "f1 at least 0.5: shown" in llmops("gates", "verdicts", str(run.id))
