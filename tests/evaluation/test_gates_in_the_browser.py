"""Gates are declared, listed, replaced and withdrawn in the console, by keyboard and in both languages."""


import httpx
import pytest
from playwright.sync_api import expect

from llmops_resources.catalog.versions import Version
from llmops_resources.evaluation import review_rubrics
from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.evaluation.pages import is_sound
from tests.evaluation.reviewing import ABSOLUTE, benchmark, headers, model_of
from tests.factories import ADMIN
from tests.journeys.accessibility import missed_by_tab
from tests.journeys.browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def model(platform: Platform) -> Version:
    """A model, beside a benchmark and a rubric."""
    benchmark(platform)
    with platform.transaction(ADMIN) as tx:
        review_rubrics.keep(tx, ABSOLUTE)
    return model_of(platform, "one")


def test_a_gate_is_declared_replaced_and_withdrawn_with_the_keyboard(
    api: httpx.Client, visitor: Console, model: Version
) -> None:
    page, press = visitor.page, visitor.page.keyboard.press
    visitor.open(f"/catalog/models/{model.id}")
    expect(page.get_by_role("region", name="Gates")).to_contain_text("No gate is declared for this model.")
    visitor.link("Declare or withdraw").press("Enter")
    expect(visitor.heading("Gates")).to_be_visible()
    expect(visitor.field("Of model")).to_have_value("one")
    expect(page.get_by_text("No gate is in force")).to_be_visible()
    visitor.button("New gate").press("Enter")
    visitor.field("Name").focus()
    page.keyboard.type("bar")
    expect(visitor.field("Model")).to_have_value("one")
    visitor.field("Benchmark").select_option("exam")
    visitor.field("Metric").select_option("Exact match")
    visitor.field("Bound").fill("0.5")
    visitor.button("Add a condition").press("Enter")
    second = page.get_by_role("group", name="Condition 2")
    second.get_by_label("What must hold").select_option("not worse than a baseline")
    second.get_by_label("Margin").fill("0.05")
    is_sound(visitor, "gate-form")
    visitor.field("Margin").press("Enter")
    gates = page.get_by_role("list", name="Gates")
    expect(gates.get_by_role("listitem").first).to_contain_text("Exact match: at least 0.5")
    expect(gates).to_contain_text("F1: worse than the version in use by less than 0.05")
    (declared,) = api.get("/evaluation/gates").json()["data"]
    assert [(it["kind"], it["metric"]) for it in declared["gate"]["conditions"]] == [
        ("threshold", "exact_match"), ("non_inferiority", "f1"),
    ]  # fmt: skip
    is_sound(visitor, "gates")
    page.reload()
    expect(gates).to_contain_text("Exact match: at least 0.5")
    assert missed_by_tab(page) == []

    visitor.button("Withdraw the gate bar").press("Enter")
    expect(visitor.button("Withdraw bar for good")).to_be_focused()
    assert api.get("/evaluation/gates").json()["data"][0]["inForce"]
    press("Enter")
    expect(page.get_by_text("No gate is in force")).to_be_visible()
    page.get_by_role("checkbox", name="Also those replaced or withdrawn").press("Space")
    expect(gates.get_by_text("withdrawn", exact=True)).to_be_visible()
    assert [it["inForce"] for it in api.get("/evaluation/gates").json()["data"]] == [False, False]
    visitor.open(f"/catalog/models/{model.id}")
    expect(page.get_by_role("region", name="Gates")).to_contain_text("No gate is declared for this model.")


def test_a_gate_asks_for_a_judges_word_and_what_the_api_refuses_stands_beside_the_condition(
    api: httpx.Client, visitor: Console, model: Version
) -> None:
    page = visitor.page
    visitor.open(f"/evaluation/gates?model={model.name}")
    visitor.button("New gate").press("Enter")
    visitor.field("Name").fill("people's word")
    visitor.field("Benchmark").select_option("exam")
    visitor.field("Judged by").select_option("Models that judge, while they are licensed")
    visitor.field("Rubric").select_option(index=1)
    visitor.field("Criterion").select_option("How helpful is it?")
    visitor.field("Bound").fill("5")
    visitor.button("Declare gate").press("Enter")
    refused = page.get_by_role("group", name="Condition 1")
    expect(refused).to_contain_text("5 is not between the ends of the scale")
    assert len(visitor.refusals) == 1
    visitor.field("Bound").fill("3.5")
    visitor.button("Declare gate").press("Enter")
    expect(page.get_by_role("list", name="Gates")).to_contain_text("helpful (all judges together): at least 3.5")
    (declared,) = api.get("/evaluation/gates").json()["data"]
    assert declared["gate"]["conditions"][0]["atLeast"] == 3.5
    visitor.open(f"/catalog/models/{model.id}")
    expect(page.get_by_role("region", name="Gates")).to_contain_text("people's word")
    page.evaluate("localStorage.setItem('llmops-locale', 'ko')")
    visitor.open("/evaluation/gates")
    expect(page.get_by_role("list", name="게이트")).to_contain_text("helpful (모든 판정 모델의 합의): 3.5 이상")
    visitor.button("새 게이트").press("Enter")
    is_sound(visitor, "gate-form-ko")


def test_whoever_may_not_declare_gates_reads_them_and_is_offered_nothing(
    api: httpx.Client, visitor: Console, model: Version
) -> None:
    bar = {"kind": "threshold", "metric": "f1", "atLeast": 0.5}
    gate = {"name": "bar", "model": model.name, "benchmark": "exam", "conditions": [bar]}
    assert api.post("/evaluation/gates", json=gate).status_code == 200
    visitor.page.set_extra_http_headers(headers("max", "ml_engineer"))
    visitor.open("/evaluation/gates")
    expect(visitor.page.get_by_role("list", name="Gates")).to_contain_text("F1: at least 0.5")
    expect(visitor.button("New gate")).to_have_count(0)
    expect(visitor.page.get_by_role("button", name="Withdraw")).to_have_count(0)
