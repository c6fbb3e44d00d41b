"""Two versions of a model that really answers are evaluated, found, compared and exported in the console."""

import re
from pathlib import Path

import dagster as dg
import httpx
import pytest
from playwright.sync_api import expect

from llmops_assets.intake import evaluate_models
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  fixtures
from tests.api.test_training_pages_in_the_browser import finish, start
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.assets.conftest import Materialize
from tests.assets.conftest import instance as instance  # noqa: PLC0414
from tests.assets.conftest import materialize as materialize  # noqa: PLC0414
from tests.evaluation.pages import is_sound
from tests.evaluation.real_models import ASSET, ROWS, TOKENS, Exam, exam
from tests.factories import approved
from tests.journeys.accessibility import missed_by_tab
from tests.journeys.browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]
RUN = re.compile(r"/runs/[0-9a-f-]{36}$")


def test_a_real_model_is_evaluated_found_compared_and_exported_in_the_console(
    platform: Platform, visitor: Console, materialize: Materialize, tmp_path: Path
) -> None:
    made = exam(platform, tmp_path)
    page = visitor.page
    first = _evaluated(visitor, materialize, made, "1")
    expect(page.get_by_role("region", name="Beside earlier evaluations")).to_contain_text("No evaluation of this model")
    second = _evaluated(visitor, materialize, made, "2")
    _read(visitor)
    _compared(visitor, first, tmp_path)
    _found(visitor, made, second)


def _evaluated(visitor: Console, materialize: Materialize, made: Exam, version: str) -> str:
    """Ask for it by the form: other metrics, a sample of everything, short answers; the address of its page."""
    page = visitor.page
    visitor.open("/evaluation/runs/new")
    visitor.field("Model").select_option(f"tiny {version}")
    visitor.field("Benchmark").select_option("exam 1")
    page.get_by_role("checkbox", name="BLEU").press("Space")
    page.get_by_role("checkbox", name="ROUGE-L").press("Space")
    visitor.field("Sample size").fill(str(ROWS))
    visitor.field("Max tokens per answer").fill(str(TOKENS))
    visitor.button("Start evaluation").press("Enter")
    page.wait_for_url(RUN)
    expect(visitor.badge("Queued")).to_be_visible()
    assert materialize(ASSET, row=f"{page.url.rsplit('/', 1)[1]}:1").success
    visitor.button("Refresh").press("Enter")
    expect(visitor.badge("Succeeded")).to_be_visible()
    return page.url


def _read(visitor: Console) -> None:
    """The second version's page: figures with intervals, a chart, answers, and what changed since the first."""
    page = visitor.page
    metrics = page.get_by_role("region", name="Metrics", exact=True).first
    names = metrics.get_by_role("rowheader")
    expect(names).to_have_text(["Exact match", "F1", "Perplexity", "ROUGE-L"])
    expect(metrics.get_by_role("row", name="Exact match")).to_contain_text("0.75")
    expect(page.get_by_role("img", name="Scores between 0 and 1")).to_be_visible()
    samples = page.get_by_role("region", name="Samples")
    expect(samples).to_contain_text("What follows 0?")
    page.get_by_role("checkbox", name="Only wrong answers").press("Space")
    expect(samples.get_by_role("listitem")).to_have_count(10)
    earlier = page.get_by_role("region", name="Beside earlier evaluations")
    expect(earlier).to_contain_text("Against tiny 1")
    expect(earlier.get_by_role("row", name="Exact match")).to_contain_text("+0.75")
    expect(page.get_by_role("definition").filter(has_text="Draft")).to_be_visible()
    is_sound(visitor, "real-run")
    page.reload()
    expect(earlier).to_contain_text("Against tiny 1")
    page.wait_for_load_state("networkidle")
    assert missed_by_tab(page) == []


def _compared(visitor: Console, first: str, folder: Path) -> None:
    page = visitor.page
    visitor.open(first.removeprefix(visitor.root))
    visitor.link("Compare").press("Enter")
    choice = visitor.field("Add an evaluation")
    choice.select_option(label=choice.get_by_role("option", name=re.compile("tiny 2")).inner_text())
    expect(page.get_by_role("note")).to_contain_text("Promote tiny 2 over tiny 1")
    expect(page.get_by_role("note")).to_contain_text("exact_match differs by +0.75")
    table = page.get_by_role("region", name="Metrics", exact=True)
    expect(table.get_by_role("row", name="Exact match")).to_contain_text("+0.75")
    expect(page.get_by_role("img", name="Scores between 0 and 1")).to_be_visible()
    expect(page.get_by_role("img", name="Over the versions of tiny on exam")).to_be_visible()
    answers = page.get_by_role("region", name="Answers side by side")
    expect(answers.get_by_role("listitem").first).to_contain_text("tiny 2")
    expect(answers.get_by_text("Right", exact=True).first).to_be_visible()
    with page.expect_download() as saved:
        visitor.link("Export CSV").press("Enter")
    saved.value.save_as(folder / "compared.csv")
    assert '"tiny 1","tiny 2","exam 1","exact_match"' in (folder / "compared.csv").read_text()
    is_sound(visitor, "real-compare")
    page.reload()
    expect(answers.get_by_role("listitem").first).to_contain_text("tiny 2")
    page.wait_for_load_state("networkidle")
    assert missed_by_tab(page) == []


def _found(visitor: Console, made: Exam, second: str) -> None:
    """By model, benchmark, type, state and day."""
    page = visitor.page
    visitor.open("/evaluation/runs")
    rows = page.get_by_role("row")
    expect(rows).to_have_count(3)
    visitor.field("Model").select_option("tiny 2")
    expect(rows).to_have_count(2)
    assert f"modelId={made.second.id}" in page.url
    visitor.field("Benchmark").select_option("exam 1")
    visitor.field("Type").select_option("Automated")
    visitor.field("Status").select_option("Succeeded")
    visitor.field("Requested from").fill("2020-01-01")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("Exact match")
    visitor.field("Status").select_option("Failed")
    expect(page.get_by_text("No evaluation matches these filters")).to_be_visible()
    visitor.button("Clear filters").press("Enter")
    expect(rows).to_have_count(3)
    visitor.button("Refresh").press("Enter")
    page.get_by_role("link", name="tiny 2").press("Enter")
    page.wait_for_url(second)
    visitor.link("Back to evaluations").press("Enter")
    visitor.link("New evaluation").press("Enter")
    expect(visitor.heading("New evaluation")).to_be_visible()


def test_a_training_job_asks_in_its_form_for_an_evaluation_whose_page_leads_back_to_it(
    platform: Platform, api: httpx.Client, visitor: Console, instance: dg.DagsterInstance
) -> None:
    page = visitor.page
    approved(platform, Kind.DATASET, "facts")
    benchmark = approved(platform, Kind.DATASET, "exam", benchmark=True)
    visitor.open("/training/jobs/new")
    visitor.field("Job type").select_option("From scratch")
    visitor.field("Name of the resulting model").fill("made")
    visitor.field("Data set").select_option("facts 1")
    if page.get_by_role("switch", name="Use GPU").is_checked():
        page.get_by_role("switch", name="Use GPU").press("Space")
    page.get_by_role("region", name="Automatic evaluation").get_by_label("Benchmark").select_option("exam 1")
    visitor.button("Submit job").press("Enter")
    expect(visitor.heading("Training of made 1")).to_be_visible()
    job = api.get(f"/training/jobs/{page.url.rsplit('/', 1)[1]}").json()["data"]
    assert job["autoEvaluate"]["datasetId"] == str(benchmark.id)
    start(platform, job["id"])
    finish(platform, job["id"])
    with dg.build_sensor_context(instance=instance, resources={"platform": platform}) as context:
        evaluate_models(context)
    (run,) = api.get("/evaluation/runs", params={"trainingJobId": job["id"]}).json()["data"]
    visitor.open(f"/evaluation/runs/{run['id']}")
    expect(visitor.heading("made 1 on exam 1")).to_be_visible()
    visitor.link("Open the job that made this model").press("Enter")
    expect(visitor.heading("Training of made 1")).to_be_visible()
