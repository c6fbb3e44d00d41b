"""User story 2 in the console: jobs are submitted, watched, found, cancelled, explained and compared."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, expect

from tests.journeys.browser import Console
from tests.journeys.journey import ARCHITECTURE
from tests.journeys.running import RunningPlatform

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
Walked = tuple[RunningPlatform, dict[str, Any]]
Submit = Callable[..., str]
WORK = 180_000  # milliseconds
TINY = {"architecture": ARCHITECTURE, "maxTokens": 6_000}
ENDLESS = {"architecture": ARCHITECTURE, "maxTokens": 50_000_000, "epochs": 1000}


@pytest.fixture
def name() -> str:
    return f"web_{uuid4().hex[:8]}"


@pytest.fixture
def submit(walked: Walked) -> Iterator[Submit]:
    """Submits a job on CPUs through the API, its id; what a failed test leaves behind must not hold up the next."""
    platform, made = walked
    submitted: list[str] = []

    def send(name: str, **recipe: Any) -> str:
        body = {
            "jobType": "from_scratch", "datasetId": made["datasets"]["corpus"]["id"], "outputModelName": name,
            "useGpu": False, "hyperparameters": {"batchSize": 4, **recipe},
        }  # fmt: skip
        submitted.append(platform.post("/training/jobs", body, headers={"Idempotency-Key": name})["id"])
        return submitted[-1]

    yield send
    for job in submitted:
        platform.client.delete(f"/training/jobs/{job}")


def test_a_job_is_submitted_by_a_form_that_knows_its_type_and_ends_in_an_experiment_with_charts_and_tables(
    visitor: Console, name: str
) -> None:
    visitor.open("/training/jobs")
    visitor.link("Submit new job").first.click()
    expect(visitor.heading("Submit training job")).to_be_visible()
    _see_fields_follow_the_type(visitor)
    _see_mistakes_named_while_typing(visitor)
    visitor.field("Name of the resulting model").fill(name)
    visitor.field("Data set").select_option(label="corpus 1")
    _send(visitor, name, TINY)
    _see_it_succeed_without_a_reload(visitor)
    visitor.link("Experiment").click()
    expect(visitor.heading(f"Experiment {name} 1")).to_be_visible()
    _see_charts_and_tables_by_name(visitor)


def test_a_running_and_a_queued_job_are_cancelled_and_found_by_their_status(
    walked: Walked, visitor: Console, submit: Submit, name: str
) -> None:
    running, queued = f"{name}_runs", f"{name}_waits"
    first = submit(running, **ENDLESS)
    visitor.open(f"/training/jobs/{first}")
    expect(visitor.badge("Running")).to_be_visible(timeout=WORK)
    timeline = _region(visitor, "Timeline")
    expect(timeline).to_contain_text("running for")
    second = submit(queued, **TINY)
    visitor.open(f"/training/jobs/{second}")
    expect(visitor.badge("Queued")).to_be_visible()
    expect(_region(visitor, "In the queue")).to_contain_text("1 for cpu")
    expect(_region(visitor, "Timeline")).not_to_contain_text("waited")

    visitor.link("Back to jobs").click()
    listed = visitor.page.get_by_role("table", name="Training jobs").get_by_role("row")
    visitor.field("Status").select_option(label="Queued")
    expect(visitor.page).to_have_url(re.compile(r"\?status=queued$"))
    expect(listed).to_have_count(2)
    visitor.button(f"Cancel the job for {queued}").click()
    expect(visitor.page.get_by_text("No job matches these filters")).to_be_visible()
    visitor.field("Status").select_option(label="Running")
    visitor.link(f"{running} 1").click()
    visitor.button("Cancel job").click()
    expect(visitor.badge("Cancelled")).to_be_visible(timeout=60_000)
    expect(visitor.button("Cancel job")).to_have_count(0)
    expect(visitor.button("Retry")).to_be_visible()
    expect(timeline).to_contain_text("took")

    visitor.open("/training/jobs?status=cancelled")
    expect(visitor.field("Status")).to_have_value("cancelled")
    for gone in (running, queued):
        expect(listed.filter(has_text=gone)).to_contain_text("Cancelled")
    visitor.field("Model").select_option(label="tiny_base 1")
    visitor.field("Status").select_option(label="Succeeded")
    expect(visitor.page).to_have_url(re.compile(rf"\?(?=.*status=succeeded)(?=.*modelId={walked[1]['base']['id']})"))
    expect(listed.filter(has_text="tiny_chat 1")).to_contain_text("Succeeded")
    expect(listed.filter(has_text=name)).to_have_count(0)


def test_a_failed_job_shows_its_root_cause_its_log_and_what_to_do(visitor: Console, submit: Submit, name: str) -> None:
    job = submit(name, **TINY, textColumn="nowhere", seed=7)
    visitor.open(f"/training/jobs/{job}")
    expect(visitor.badge("Failed")).to_be_visible(timeout=WORK)
    cause = visitor.page.get_by_role("alert")
    expect(cause).to_contain_text("Data")
    expect(cause).to_contain_text("has no column nowhere. part-0001.parquet has the columns text.")
    expect(cause).to_contain_text("Correct the data set or the settings, and submit a new job.")
    expect(visitor.page.get_by_role("log", name="Log")).to_contain_text("nowhere")
    expect(visitor.button("Retry")).to_be_enabled()
    visitor.link("Experiment").click()
    expect(visitor.heading(f"Experiment {name} 1")).to_be_visible()
    expect(visitor.page.get_by_role("alert")).to_contain_text("nowhere")
    expect(_region(visitor, "History").get_by_role("listitem").last).to_contain_text("Failed")
    expect(_region(visitor, "Recipe")).to_contain_text("nowhere")
    expect(visitor.page.get_by_text("Nothing was measured.")).to_be_visible()
    visitor.open(f"/experiments?status=failed&modelName={name}")
    row = visitor.page.get_by_role("table", name="Experiments").get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("Failed")
    expect(row).to_contain_text("Data")


def test_two_experiments_are_compared_by_their_parameters_results_and_curves(visitor: Console) -> None:
    visitor.open("/experiments?status=succeeded")
    for model in ("tiny_base", "tiny_chat"):
        visitor.field("Resulting model").fill(model)
        visitor.page.get_by_role("checkbox", name=f"Choose {model} 1 to compare").check()
    visitor.link("Compare (2)").click()
    expect(visitor.heading("Compare experiments")).to_be_visible()
    expect(visitor.page).to_have_url(re.compile(r"\?ids=[0-9a-f-]{36}(,|%2C)[0-9a-f-]{36}$"))
    results = visitor.page.get_by_role("table", name="Results")
    for model in ("tiny_base 1", "tiny_chat 1"):
        expect(results.get_by_role("columnheader", name=model)).to_contain_text("Succeeded")
    losses = results.get_by_role("row", name=re.compile("^Loss")).get_by_role("cell")
    expect(losses).to_have_count(2)
    for cell in losses.all_inner_texts():
        assert re.match(r"\d+(\.\d+)?\s+best \d", cell)
    differing = visitor.page.get_by_role("table", name="Parameters")
    expect(differing.get_by_role("row", name=re.compile("jobType|job_type|epochs")).first).to_be_visible()
    expect(visitor.page.get_by_role("img", name="Loss by training step", exact=True)).to_be_visible()
    visitor.button("Remove tiny_base 1").click()
    expect(visitor.page).to_have_url(re.compile(r"\?ids=[0-9a-f-]{36}$"))
    expect(results.get_by_role("columnheader", name="tiny_base 1")).to_have_count(0)
    visitor.page.reload()
    expect(results.get_by_role("columnheader", name="tiny_chat 1")).to_be_visible()


def _region(visitor: Console, name: str) -> Locator:
    return visitor.page.get_by_role("region", name=name, exact=True)


def _see_fields_follow_the_type(visitor: Console) -> None:
    asks_for_a_base = {"Fine-tuning": True, "From scratch": False, "Pre-training": False}
    for job_type, base in asks_for_a_base.items():
        visitor.field("Job type").select_option(label=job_type)
        expect(visitor.field("Base model")).to_have_count(int(base))
        expect(_region(visitor, "Architecture")).to_have_count(int(not base))
        expect(visitor.field("Prompt column")).to_have_count(int(base))
    visitor.field("Job type").select_option(label="Distributed")
    visitor.field("What to distribute").select_option(label="Fine-tuning")
    expect(visitor.field("Base model")).to_be_visible()
    expect(visitor.field("Nodes")).to_be_visible()
    visitor.field("Job type").select_option(label="From scratch")
    expect(visitor.field("Nodes")).to_have_count(0)


def _see_mistakes_named_while_typing(visitor: Console) -> None:
    for field, wrong, said in (
        ("Name of the resulting model", "My Model", "Use 1–100 lower-case letters"),
        ("Epochs", "0", "Give a number above 0, at most 1000."),
        ("Learning rate", "2", "Give a number above 0, at most 1."),
        ("More hyperparameters (JSON)", '{"a":', "This is not a JSON object."),
    ):
        visitor.field(field).fill(wrong)
        expect(visitor.page.get_by_text(said)).to_be_visible()
        visitor.field(field).fill("")
        expect(visitor.page.get_by_text(said)).to_have_count(0)
    visitor.button("Submit job").click()
    expect(visitor.page.get_by_text("This is required.")).to_have_count(2)
    expect(visitor.field("Name of the resulting model")).to_be_focused()
    assert visitor.page.url.endswith("/training/jobs/new")


def _send(visitor: Console, name: str, recipe: dict[str, Any]) -> None:
    visitor.field("More hyperparameters (JSON)").fill(json.dumps(recipe))
    visitor.page.get_by_role("switch", name="Use GPU").click()
    visitor.button("Submit job").click()
    expect(visitor.heading(f"Training of {name} 1")).to_be_visible()
    expect(visitor.page).to_have_url(re.compile(r"/training/jobs/[0-9a-f-]{36}$"))


def _see_it_succeed_without_a_reload(visitor: Console) -> None:
    expect(_region(visitor, "Timeline").get_by_role("listitem")).to_have_text(
        [re.compile("Submitted.*:"), re.compile("Started.*:.*waited"), re.compile("Completed.*:.*took")], timeout=WORK
    )
    expect(visitor.badge("Succeeded")).to_be_visible()
    expect(visitor.link("Open model")).to_be_visible()
    about = _region(visitor, "About this job")
    expect(about).to_contain_text("From scratch")
    expect(about.get_by_role("link", name="corpus 1")).to_be_visible()


def _see_charts_and_tables_by_name(visitor: Console) -> None:
    measured = _region(visitor, "Measurements")
    for metric in ("Loss", "Learning rate", "Tokens per second"):
        expect(measured.get_by_role("img", name=f"{metric} by training step", exact=True)).to_be_visible()
    loss = measured.locator('[data-metric="loss"]')
    loss.get_by_role("button", name=re.compile("^Values")).click()
    table = loss.get_by_role("table", name="Values of Loss")
    expect(table.get_by_role("columnheader")).to_have_text(["Step", "Value", "Unit", "Recorded"])
    row = table.get_by_role("row").nth(1).get_by_role("cell")
    expect(row.nth(1)).to_have_text(re.compile(r"^\d+(\.\d+)?$"))
    expect(row.nth(3)).to_have_text(re.compile(r"\d:\d\d:\d\d"))
    visitor.field("Metric").select_option(label="Loss")
    expect(visitor.page).to_have_url(re.compile(r"\?metric=loss$"))
    expect(measured.get_by_role("img")).to_have_count(1)
