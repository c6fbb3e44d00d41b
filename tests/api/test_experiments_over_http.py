"""Experiments through HTTP: what a job measured and said, found, compared and exported."""

import csv
import io
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.errors import UpstreamFailed
from llmops_resources.governance.keys import issue_job_token
from llmops_resources.platform import Platform
from llmops_resources.training import failures, jobs, logs, queueing
from llmops_resources.training.capacity import capacity_of
from llmops_resources.training.failures import JobFailed, RootCause
from tests.api.measuring import measured, said, submitted
from tests.factories import approved

SYSTEM = Actor("system:test")
NOBODY = "00000000-0000-0000-0000-00000000000f"


@pytest.fixture
def dataset(platform: Platform) -> versions.Version:
    return approved(platform, Kind.DATASET, "facts")


def failed(platform: Platform, job: str, error: BaseException) -> None:
    with platform.transaction(SYSTEM) as tx:
        queueing.admit_waiting(tx, capacity_of(platform.settings))
        jobs.claim(tx, UUID(job), attempt=1, run_id="run")
        jobs.fail_because(tx, UUID(job), "run", error)


def got(api: httpx.Client, path: str, **query: Any) -> Any:
    answer = api.get(f"/training/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def refusals(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {detail["path"]: detail["remedy"] for detail in answer.json()["data"]["errors"]}


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_metrics_come_back_as_an_array_in_the_order_they_were_recorded(
    api: httpx.Client, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    late = {"name": "loss", "value": 1.0, "step": 1, "recordedAt": "2030-01-01T00:00:02Z"}
    early = {"name": "accuracy", "value": 0.5, "step": 9, "recordedAt": "2030-01-01T00:00:01Z", "unit": "ratio"}
    assert api.post(f"/training/jobs/{job}/metrics", json=[late, early]).status_code == 200
    assert api.post(f"/training/jobs/{job}/metrics", json=late | {"value": 0.75}).status_code == 200
    shown = got(api, f"experiments/{job}")
    assert [(metric["name"], metric["value"], metric["unit"]) for metric in shown] == [
        ("accuracy", 0.5, "ratio"), ("loss", 0.75, None),
    ]  # fmt: skip
    assert got(api, f"experiments/{job}", name="loss", afterStep=1) == []


def test_a_job_has_a_bounded_number_of_metric_names_and_the_refused_batch_leaves_nothing(
    api: httpx.Client, dataset: versions.Version
) -> None:
    job, url = submitted(api, dataset), "/training/jobs/{}/metrics"
    names = [f"m{number}" for number in range(500)]
    assert api.post(url.format(job), json=[{"name": name, "value": 1} for name in names]).status_code == 200
    more = [{"name": "m0", "value": 2, "step": 1}, {"name": "new", "value": 1}]
    assert "500" in refusals(api.post(url.format(job), json=more))["1.name"]
    assert len(got(api, f"experiments/{job}")) == 500
    assert api.post(url.format(job), json=more[0]).status_code == 200  # a known name goes on
    assert api.post(url.format(submitted(api, dataset)), json=more).status_code == 200  # another job is not concerned


@pytest.mark.parametrize(
    "hostile",
    [
        {"name": "x" * 1_000_000, "value": 1},
        {"name": "a b", "value": 1},
        {"name": "<script>", "value": 1},
        {"name": "=1+1", "value": 1},
        {"name": "naïve", "value": 1},
        {"name": "a\u0000", "value": 1},
        {"name": "loss\n", "value": 1},
        {"name": "loss", "value": 1, "step": 2**31},
        {"name": "loss", "value": 1, "step": -1},
        {"name": "loss", "value": 1, "unit": "u" * 33},
        {"name": "loss", "value": 1, "__proto__": {"admin": True}},
        [{"name": "loss", "value": 1, "step": step} for step in range(10_001)],
    ],
)
def test_a_hostile_metric_is_refused_with_its_place(
    api: httpx.Client, dataset: versions.Version, hostile: Any
) -> None:
    job = submitted(api, dataset)
    answer = api.post(f"/training/jobs/{job}/metrics", json=hostile)
    assert answer.status_code == 422, answer.text[:300]
    assert len(answer.content) < 10_000
    assert got(api, f"experiments/{job}") == []


def test_names_that_mean_something_to_javascript_are_names_like_others(
    api: httpx.Client, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    for name in ("__proto__", "constructor", "a.b.c"):
        measured(api, job, name, 1.0)
    assert {metric["name"] for metric in got(api, "experiments/compare", ids=job)["metrics"]} == {
        "__proto__", "constructor", "a.b.c",
    }  # fmt: skip


def test_a_jobs_token_records_for_its_own_job_alone(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    mine, other = submitted(api, dataset), submitted(api, dataset)
    token = issue_job_token(platform.settings.signing_key(), UUID(mine), lifetime=timedelta(hours=1))
    headers = {"Authorization": f"Bearer {token}"}
    metric = {"name": "loss", "value": 1}
    assert api.post(f"/training/jobs/{mine}/metrics", json=metric, headers=headers).status_code == 200
    assert api.post(f"/training/jobs/{other}/metrics", json=metric, headers=headers).status_code == 403


def test_a_tables_pages_follow_each_other_by_step(api: httpx.Client, dataset: versions.Version) -> None:
    job = submitted(api, dataset)
    measured(api, job, "loss", *map(float, range(25)))
    seen: list[int] = []
    while page := got(api, f"experiments/{job}/points", name="loss", limit=10, afterStep=seen[-1] if seen else -1):
        seen += [point["step"] for point in page]
    assert seen == list(range(25))


# -- logs ------------------------------------------------------------------------------------------------------------


def test_a_log_is_read_page_by_page_through_all_attempts(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    assert got(api, f"jobs/{job}/logs") == {"lines": [], "next": 0, "more": False}
    said(platform, job, *(f"line {number}" for number in range(3)))
    said(platform, job, "again", attempt=2)
    first = got(api, f"jobs/{job}/logs", limit=3)
    assert ([line["text"] for line in first["lines"]], first["more"]) == (["line 0", "line 1", "line 2"], True)
    rest = got(api, f"jobs/{job}/logs", after=first["next"])
    assert [(line["number"], line["attempt"], line["text"]) for line in rest["lines"]] == [(4, 2, "again")]
    assert got(api, f"jobs/{job}/logs", after=rest["next"]) == {"lines": [], "next": 4, "more": False}


def test_a_long_log_loses_its_middle_and_says_so(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job, total = submitted(api, dataset), logs.HEAD + logs.TAIL + 1_500
    for start in range(0, total, 500):
        said(platform, job, *(f"line {number}" for number in range(start, start + 500)))
    said(platform, job, "x" * 5_000, attempt=2)
    lines, after = [], 0
    while (page := got(api, f"jobs/{job}/logs", after=after, limit=1_000))["lines"]:
        lines, after = lines + page["lines"], page["next"]
    assert len(lines) == logs.HEAD + logs.TAIL + 1
    (gap,) = [line for line in lines if line["leftOut"]]
    assert (gap["leftOut"], gap["text"]) == (1_500, f"line {logs.HEAD + 1_500}")
    assert (lines[0]["text"], lines[-2]["text"]) == ("line 0", f"line {total - 1}")
    assert len(lines[-1]["text"]) == logs.LONGEST


def test_logs_of_nothing_are_not_found_and_bad_places_are_refused(
    api: httpx.Client, dataset: versions.Version
) -> None:
    assert api.get(f"/training/jobs/{NOBODY}/logs").status_code == 404
    assert api.get(f"/training/jobs/{submitted(api, dataset)}/logs", params={"after": -1}).status_code == 422


# -- records ---------------------------------------------------------------------------------------------------------


def test_the_record_of_a_failed_job_has_its_parameters_digests_attempts_cause_and_remedy(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset, learningRate=0.01)
    measured(api, job, "loss", 3.0, 2.0)
    failed(platform, job, JobFailed(failures.cause(RootCause.OUT_OF_MEMORY, "CUDA out of memory")))
    record = got(api, f"experiments/{job}/record")
    assert record["parameters"]["learningRate"] == 0.01
    assert record["digests"]["dataset"] == dataset.digest
    assert record["digests"]["recipe"].startswith("sha256:")
    assert record["digests"]["weights"] is None
    assert record["artifacts"] == []
    assert record["job"]["failure"]["tag"] == "out_of_memory"
    assert "batch" in record["job"]["failure"]["remedy"]
    actions = [(move["action"], move["attempt"]) for move in record["moves"]]
    assert ("training.start", 1) in actions
    assert actions[-1][0] == "training.fail"
    assert [(metric["name"], metric["step"], metric["value"]) for metric in record["metrics"]] == [("loss", 1, 2.0)]
    assert record["points"] == 2


def test_experiments_are_found_by_what_was_run_and_sorted_by_what_came_out(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    silent = submitted(api, dataset, "good")
    failed(platform, silent, UpstreamFailed("gone"))
    losses = {"good": 1.0, "bad": 4.0, "fair": 2.0}
    made = {name: submitted(api, dataset, name) for name in losses}
    for name, loss in losses.items():
        measured(api, made[name], "loss", 9.0, loss)
        measured(api, made[name], "system/cpu_percent", 99.0)

    def found(**query: Any) -> list[str]:
        return [experiment["outputModelName"] for experiment in got(api, "experiments", **query)]

    assert found(metric="loss", order="lowest") == ["good", "fair", "bad"]
    assert found(metric="loss", order="highest", limit=1) == ["bad"]
    assert found(metric="loss", minMetric=1.5, maxMetric=3) == ["fair"]
    assert found(modelName="good") == ["good", "good"]
    assert found(modelName="good", status="failed") == ["good"]
    assert found(team="research", jobType="from_scratch") == ["fair", "bad", "good", "good"]
    assert found(team="other") == []
    (experiment,) = got(api, "experiments", modelName="fair")
    assert [metric["name"] for metric in experiment["metrics"]] == ["loss"]
    answer = api.get("/training/experiments", params={"metric": "loss", "order": "lowest", "limit": 1})
    assert answer.headers["X-Total-Count"] == "3"
    assert "metric" in refusals(api.get("/training/experiments", params={"minMetric": 1}))
    assert api.get("/training/experiments", params={"minMetric": "nan", "metric": "loss"}).status_code == 422


def test_pages_of_experiments_follow_each_other(api: httpx.Client, dataset: versions.Version) -> None:
    made = [submitted(api, dataset) for _ in range(3)]
    first = api.get("/training/experiments", params={"limit": 2})
    second = api.get("/training/experiments", params={"limit": 2, "cursor": first.headers["X-Next-Cursor"]})
    shown = [experiment["jobId"] for answer in (first, second) for experiment in answer.json()["data"]]
    assert shown == made[::-1]


def test_a_comparison_shows_the_parameters_that_differ_and_every_metrics_results(
    api: httpx.Client, dataset: versions.Version
) -> None:
    slow, fast = submitted(api, dataset, learningRate=0.001), submitted(api, dataset, learningRate=0.01)
    measured(api, slow, "loss", 5.0, 3.0, 4.0)
    measured(api, fast, "loss", 5.0, 1.0, 2.0)
    measured(api, fast, "accuracy", 0.1, 0.9, 0.8)
    compared = got(api, "experiments/compare", ids=f"{fast},{slow}")
    assert [experiment["jobId"] for experiment in compared["experiments"]] == [fast, slow]
    assert {"name": "learningRate", "values": [0.01, 0.001]} in compared["parameters"]
    assert "datasetDigest" not in [parameter["name"] for parameter in compared["parameters"]]
    loss, accuracy = compared["metrics"]
    assert (loss["name"], loss["better"], accuracy["better"]) == ("loss", "lower", "higher")
    assert [(c["jobId"], c["lowest"], c["highest"], c["last"]) for c in loss["curves"]] == [
        (fast, 1.0, 5.0, 2.0), (slow, 3.0, 5.0, 4.0),
    ]  # fmt: skip
    assert loss["curves"][1]["points"] == [[0, 5.0], [1, 3.0], [2, 4.0]]
    assert [curve["jobId"] for curve in accuracy["curves"]] == [fast]
    named = got(api, "experiments/compare", ids=f"{fast},{slow}", names="accuracy,unknown")
    assert [metric["name"] for metric in named["metrics"]] == ["accuracy"]


def test_a_curve_of_many_points_keeps_its_ends_and_every_peak_in_500(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job, chance = submitted(api, dataset), random.Random(1)
    values = [chance.random() for _ in range(6_000)]
    values[777], values[2_345] = 50.0, -50.0
    body = [{"name": "loss", "value": value, "step": 10 * step} for step, value in enumerate(values)]
    assert api.post(f"/training/jobs/{job}/metrics", json=body).status_code == 200
    (metric,) = got(api, "experiments/compare", ids=job)["metrics"]
    (curve,) = metric["curves"]
    points = [tuple(point) for point in curve["points"]]
    assert len(points) <= 500
    assert points == sorted(points)
    assert {(7_770, 50.0), (23_450, -50.0), (0, values[0]), (59_990, values[-1])} <= set(points)
    assert all(values[step // 10] == value for step, value in points)
    assert (curve["count"], curve["lowest"], curve["highest"]) == (6_000, -50.0, 50.0)


def test_what_cannot_be_compared_is_refused(api: httpx.Client, dataset: versions.Version) -> None:
    job = submitted(api, dataset)
    for ids in ("", "nonsense", f"{job},{job}", ",".join([job, *(f"{NOBODY[:-2]}{n:02}" for n in range(10))])):
        assert "ids" in refusals(api.get("/training/experiments/compare", params={"ids": ids})), ids
    assert api.get("/training/experiments/compare", params={"ids": NOBODY}).status_code == 404


def test_an_export_has_everything_and_no_cell_is_a_formula(
    api: httpx.Client, platform: Platform, dataset: versions.Version
) -> None:
    job = submitted(api, dataset)
    measured(api, job, "loss", -1.5, 2.0, unit="=cmd|' /C calc'!A0")
    measured(api, job, "-2-3", 1.0)
    answer = api.get(f"/training/experiments/{job}/export", params={"format": "csv"})
    assert f'filename="experiment-{job}.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert ["parameter", "architecture.hiddenSize", "", "16", "", ""] in rows
    assert [row[1:5] for row in rows if row[0] == "metric"] == [
        ["loss", "0", "-1.5", "'=cmd|' /C calc'!A0"],
        ["loss", "1", "2.0", "'=cmd|' /C calc'!A0"],
        ["'-2-3", "0", "1.0", ""],
    ]
    whole = api.get(f"/training/experiments/{job}/export").json()
    assert whole["record"]["job"]["id"] == job
    assert whole["metrics"] == got(api, f"experiments/{job}")
    assert datetime.fromisoformat(whole["metrics"][0]["recordedAt"]).tzinfo == UTC
    assert api.get(f"/training/experiments/{job}/export", params={"format": "xml"}).status_code == 422


# -- conditions ------------------------------------------------------------------------------------------------------


def test_experiments_are_found_by_any_parameter_and_by_what_they_measured(
    api: httpx.Client, dataset: versions.Version
) -> None:
    slow = submitted(api, dataset, "slow", learningRate=0.001)
    fast = submitted(api, dataset, "fast", learningRate=0.01, textColumn="it's, \"one\"")
    measured(api, slow, "eval_loss", 5.0, 3.0)
    measured(api, fast, "eval_loss", 5.0, 1.5)
    expected = {
        "param.learning_rate<=0.001": {slow},
        "param.learningRate=1e-3": {slow},
        "param.learning_rate!=0.001": {fast},
        "metric.eval_loss<2": {fast},
        "metric.eval_loss<2 and param.learning_rate<=0.001": set(),
        "metric.eval_loss>=1.5, param.architecture.layers=1": {slow, fast},
        "metric.never<2": set(),
        "param.lora=none": {slow, fast},
        "param.lora.rank>=1": set(),
        "param.maxTokens!=none": set(),
        "param.text_column=text": {slow},
        "param.compile=false": {slow, fast},
        "param.optimizer=muon": {slow, fast},
    }  # fmt: skip
    found = {where: {each["jobId"] for each in got(api, "experiments", where=where)} for where in expected}
    assert found == expected
    best = got(api, "experiments", where="param.learning_rate>0.0001", metric="eval_loss", order="lowest")
    assert [each["jobId"] for each in best] == [fast, slow]


def test_a_condition_that_cannot_be_read_is_refused_with_what_to_write(api: httpx.Client) -> None:
    answer = api.get("/training/experiments", params={"where": "param.learning_rat<1"})
    assert refusals(answer) == {"where": "Did you mean param.learningRate?"}
    attack = api.get("/training/experiments", params={"where": "param.textColumn='x' OR 1=1; DROP TABLE audit_log"})
    assert attack.status_code == 422
