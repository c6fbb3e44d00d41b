"""Models are evaluated by one form, and judged afterwards; axe finds nothing serious, and a phone is wide enough."""

from uuid import UUID

import httpx
import pytest
from playwright.sync_api import expect

from llmops_assets.intake import judge_due
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.runs import Counts, Result, Sample
from llmops_resources.platform import Platform
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.evaluation.pages import is_sound
from tests.evaluation.reviewing import ABSOLUTE, benchmark, model_of
from tests.factories import approved
from tests.journeys.browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
SYSTEM = Actor("system:test")


def test_several_models_are_evaluated_by_one_form_and_compared(
    platform: Platform, api: httpx.Client, visitor: Console
) -> None:
    benchmark(platform)
    page = visitor.page
    models = [model_of(platform, name) for name in ("first", "second", "third")]
    visitor.open(f"/evaluation/runs/new?modelId={models[0].id}")
    visitor.field("Another model").select_option("second 1")
    visitor.field("Another model").select_option("third 1")
    chosen = page.get_by_role("list", name="Models to evaluate").get_by_role("listitem")
    expect(chosen).to_have_text(["first 1", "second 1", "third 1"])
    visitor.button("Remove second 1").press("Enter")
    expect(chosen).to_have_text(["first 1", "third 1"])
    expect(visitor.field("Another model")).to_be_focused()
    expect(visitor.field("Another model")).to_have_value("")
    visitor.field("Benchmark").select_option("exam 1")
    is_sound(visitor, "create")
    visitor.button("Start 2 evaluations").press("Enter")
    expect(page.get_by_role("status").filter(has_text="0 of 2 have a result.")).to_be_visible()
    listed = api.get("/evaluation/runs").json()["data"]
    assert {it["modelName"] for it in listed} == {"first", "third"}
    assert len({it["batchId"] for it in listed}) == 1
    for at, run in enumerate(listed):
        _finished(platform, run["id"], right=at)
    visitor.button("Refresh").press("Enter")
    expect(page.get_by_role("status").filter(has_text="2 of 2 have a result.")).to_be_visible()
    is_sound(visitor, "batch")
    visitor.link("Compare them").press("Enter")
    expect(visitor.heading("Compare evaluations")).to_be_visible()


def test_what_the_api_says_of_a_model_stands_beside_it(platform: Platform, visitor: Console) -> None:
    benchmark(platform)
    model = model_of(platform, "first")
    stranger = "00000000-0000-0000-0000-00000000000f"
    visitor.open(f"/evaluation/runs/new?modelId={model.id}&modelId={stranger}")
    visitor.field("Benchmark").select_option("exam 1")
    visitor.button("Start 2 evaluations").press("Enter")
    chosen = visitor.page.get_by_role("list", name="Models to evaluate").get_by_role("listitem")
    expect(chosen.nth(1)).to_contain_text("there is no")
    expect(chosen.nth(0)).to_have_text("first 1")
    is_sound(visitor, "refused")
    assert len(visitor.refusals) == 1


def test_people_and_models_are_set_to_judge_an_evaluation_before_it_runs(
    platform: Platform, api: httpx.Client, visitor: Console
) -> None:
    benchmark(platform)
    model, page = model_of(platform, "first"), visitor.page
    approved(platform, Kind.MODEL, "judge", files={"model.safetensors": b"judge"})
    api.post("/evaluation/rubrics", json=ABSOLUTE.json_dict())
    visitor.open(f"/evaluation/runs/new?modelId={model.id}")
    visitor.field("Benchmark").select_option("exam 1")
    visitor.field("Evaluation type").select_option("People and models")
    visitor.field("Rubric").select_option(index=1)
    visitor.field("Reviewers").fill("ann")
    visitor.field("Add a judge").select_option("judge 1")
    visitor.button("Start evaluation").press("Enter")
    expect(page.get_by_text("1 people cannot judge everything 2 times. Name more")).to_be_visible()
    is_sound(visitor, "afterwards")
    visitor.field("Reviewers").fill("ann, ben")
    visitor.button("Start evaluation").press("Enter")
    expect(visitor.heading("first 1 on exam 1")).to_be_visible()
    expect(page.get_by_text("When it is done: people review the answers, models judge the answers")).to_be_visible()
    is_sound(visitor, "waiting")
    _finished(platform, page.url.rsplit("/", 1)[1], right=0)
    judge_due(platform)
    page.reload()
    judged = page.get_by_role("region", name="Judged by people and models").get_by_role("link")
    expect(judged.filter(has_text="People, ")).to_be_visible()
    expect(judged.filter(has_text="Models judge, ")).to_be_visible()
    expect(page.get_by_text("When it is done")).to_be_hidden()


def _finished(platform: Platform, run: str, right: int) -> None:
    samples = tuple(
        Sample(
            index=at, input=f"question {at}", expected="x", actual="x", scores={"exact_match": float(at % 2 == right)}
        )
        for at in range(8)
    )
    counts = Counts(total=8, scored=8, unscored=0)
    with platform.transaction(SYSTEM) as tx:
        runs.claim(tx, UUID(run), attempt=1, run_id="run")
        runs.finish(tx, UUID(run), Result(metrics={}, protocol={}, samples=samples, counts=counts), run_id="run")
