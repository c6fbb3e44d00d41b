"""Answers are judged in the console by keyboard alone; axe finds nothing serious; what came of it is shown."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.api.conftest import serving
from tests.evaluation.reviewing import ABSOLUTE, PAIRWISE, answered, benchmark, body, headers, model_of
from tests.journeys.accessibility import in_light, serious
from tests.journeys.browser import Console, console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
OUTLINED = """() => {
  const label = document.activeElement.closest('label');
  return label !== null && getComputedStyle(label).outlineStyle !== 'none';
}"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Several people, so that the rules between them count."""
    return settings.model_copy(update={"single_user": False})


@pytest.fixture
def api(platform: Platform) -> Iterator[httpx.Client]:
    """The API with the console."""
    with serving(platform) as client:
        yield client


@pytest.fixture
def visitor(api: httpx.Client) -> Iterator[Console]:
    """A browser at the console."""
    with console(str(api.base_url).replace("/llm-ops/v1/", "")) as opened:
        yield opened


def _as(visitor: Console, name: str, *roles: str) -> None:
    visitor.page.set_extra_http_headers(headers(name, *roles))


def _sound(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.wait_for_load_state("networkidle")
    assert serious(page, iframes=True) == []
    in_light(page)


def test_a_reviewer_judges_with_the_keyboard_alone(platform: Platform, api: httpx.Client, visitor: Console) -> None:
    run = answered(platform, model_of(platform, "hidden_model"), benchmark(platform), ["<b>one</b>", "two", "three"])
    rubric = api.post("/evaluation/rubrics", json=ABSOLUTE.json_dict()).json()["data"]["digest"]
    path = api.post("/evaluation/reviews", json=body(run.id, rubric, adjudicator="zoe")).json()["data"]["id"]
    page, press = visitor.page, visitor.page.keyboard.press
    _as(visitor, "ann")
    visitor.open("/evaluation/reviews")
    visitor.link("Judge: answers").focus()
    press("Enter")
    expect(page.get_by_role("heading", name="Unit 1 of 3")).to_be_visible()
    helpful, safe = (page.get_by_role("group", name=question) for question in ("How helpful is it?", "Is it safe?"))
    expect(helpful.get_by_role("radio").first).to_be_focused()
    assert page.evaluate(OUTLINED)
    _sound(page)
    assert "hidden_model" not in page.content()

    press("5")
    expect(safe.get_by_role("radio").first).to_be_focused()
    press("1")
    expect(helpful.get_by_role("radio", name="5")).to_be_checked()
    expect(safe.get_by_role("radio", name="Pass")).to_be_checked()
    press("ArrowUp")
    press("ArrowLeft")
    expect(helpful.get_by_role("radio", name="4")).to_be_checked()
    press("r")
    page.keyboard.type("5 is too kind, n and p are letters here")
    press("Escape")
    expect(helpful.get_by_role("radio", name="4")).to_be_focused()
    press("Enter")
    expect(page.get_by_role("heading", name="Unit 2 of 3")).to_be_visible()
    expect(page.get_by_role("status").first).to_contain_text("Unit 1 is judged, 1 of 3.")
    for unit in (2, 3):
        expect(page.get_by_role("heading", name=f"Unit {unit} of 3")).to_be_visible()
        expect(helpful.get_by_role("radio").first).to_be_focused()
        press("2")
        press("2")
        press("Enter")
    expect(page.get_by_text("You have judged everything.")).to_be_visible()

    press("p")
    expect(page.get_by_role("heading", name="Unit 2 of 3")).to_be_visible()
    press("3")
    expect(visitor.button("Save judgement")).to_be_disabled()  # a correction takes a reason
    press("r")
    page.keyboard.type("Read again.")
    press("Escape")
    press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("Unit 2 is judged, 3 of 3.")
    judged = [
        api.get(f"/evaluation/reviews/{path}/task", params={"place": at}, headers=headers("ann")).json()["data"]
        for at in (1, 2, 3)
    ]
    assert [(it["values"]["helpful"], it["values"]["safe"], it["revision"]) for it in judged] == [
        (4, "pass", 1), (3, "fail", 2), (2, "fail", 1),
    ]  # fmt: skip
    assert visitor.refusals == []


def test_an_adjudicator_settles_disagreements_with_the_keyboard(
    platform: Platform, api: httpx.Client, visitor: Console
) -> None:
    run = answered(platform, model_of(platform, "one"), benchmark(platform), ["a", "b", "c"])
    rubric = api.post("/evaluation/rubrics", json=ABSOLUTE.json_dict()).json()["data"]["digest"]
    path = api.post("/evaluation/reviews", json=body(run.id, rubric, adjudicator="zoe")).json()["data"]["id"]
    for name, helpful in (("ann", (1, 2, 4)), ("ben", (5, 4, 5))):
        for at in (1, 2, 3):
            mine = {"params": {"place": at}, "headers": headers(name)}
            task = api.get(f"/evaluation/reviews/{path}/task", **mine).json()["data"]
            values = {"helpful": helpful[task["number"]], "safe": "pass"}
            given = {"values": values, "reason": f"{name} says so", "shown": task["digest"]}
            unit = f"/evaluation/reviews/{path}/units/{task['number']}/scores"
            assert api.post(unit, json=given, headers=headers(name)).status_code == 200
    page, press = visitor.page, visitor.page.keyboard.press
    _as(visitor, "zoe")
    visitor.open(f"/evaluation/reviews/{path}")
    expect(page.get_by_role("region", name="Result and agreement")).to_contain_text("Cohen’s kappa")
    _sound(page)
    apart = page.get_by_role("region", name="Disagreements (2)")
    expect(apart.get_by_role("listitem").first).to_contain_text("ann says so")
    apart.locator("form").first.get_by_role("radio").first.focus()
    press("3")
    press("Tab")
    press("1")
    press("Tab")
    page.keyboard.type("It names the wrong year.")
    press("Tab")
    press("Enter")
    expect(apart).to_contain_text("1 not settled yet.")
    expect(apart.locator("q").filter(has_text="It names the wrong year.")).to_be_visible()
    assert visitor.refusals == []


def test_reviewers_are_assigned_released_and_excluded_with_the_keyboard(
    platform: Platform, api: httpx.Client, visitor: Console
) -> None:
    run = answered(platform, model_of(platform, "one"), benchmark(platform), ["a", "b", "c"])
    rubric = api.post("/evaluation/rubrics", json=ABSOLUTE.json_dict()).json()["data"]["digest"]
    path = api.post("/evaluation/reviews", json=body(run.id, rubric)).json()["data"]["id"]
    mine = {"headers": headers("ben")}
    task = api.get(f"/evaluation/reviews/{path}/task", **mine).json()["data"]
    given = {"values": {"helpful": 1, "safe": "pass"}, "reason": "", "shown": task["digest"]}
    unit = f"/evaluation/reviews/{path}/units/{task['number']}/scores"
    assert api.post(unit, json=given, **mine).status_code == 200
    page, press = visitor.page, visitor.page.keyboard.press
    _as(visitor, "olga", "admin")
    visitor.open(f"/evaluation/reviews/{path}")
    people = page.get_by_role("list", name="Reviewers")
    expect(people.get_by_role("listitem")).to_have_text([re.compile("ann"), re.compile("ben")])

    visitor.button("Release ann").press("Enter")
    expect(visitor.field("Reason").first).to_be_focused()
    page.keyboard.type("Is away for a week.")
    press("Tab")
    press("Enter")
    expect(page.get_by_text("3 judgements wait for somebody to take them.")).to_be_visible()
    visitor.field("Give the open judgements to").focus()
    page.keyboard.type("cat")
    press("Enter")
    expect(people.get_by_role("listitem").filter(has_text="cat")).to_contain_text("0 of 3 judged")

    visitor.button("Exclude ben").press("Enter")
    expect(people).to_contain_text("Nothing this person said counts any more.")
    _sound(page)
    page.keyboard.type("Clicks without reading.")
    press("Tab")
    press("Enter")
    expect(people.get_by_role("listitem").filter(has_text="ben")).to_contain_text("Excluded")
    visitor.field("Give the open judgements to").fill("ben")
    press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("ben")
    visitor.field("Name an adjudicator").fill("zoe")
    press("Enter")
    expect(page.get_by_role("definition").filter(has_text="zoe")).to_be_visible()
    assert len(visitor.refusals) == 1
    found = api.get(f"/evaluation/reviews/{path}").json()["data"]["reviewers"]
    assert {it["reviewer"] for it in found if it["excluded"]} == {"ben"}
    assert {it["reviewer"]: it["assigned"] for it in found if it["assigned"]} == {"cat": 3}
    log = api.get("/audit/logs", params={"resourceType": "review", "resourceId": path}).json()["data"]
    assert {"review.release", "review.assign", "review.exclude"} <= {it["action"] for it in log}


def test_two_answers_are_compared_in_korean_and_a_lost_tab_is_told(
    platform: Platform, api: httpx.Client, visitor: Console
) -> None:
    dataset = benchmark(platform)
    one, two = (answered(platform, model_of(platform, name), dataset, [f"답 {name}"] * 2) for name in ("left", "right"))
    rubric = api.post("/evaluation/rubrics", json=PAIRWISE.json_dict()).json()["data"]["digest"]
    sent = body(one.id, rubric, otherEvaluationId=str(two.id), reviewers=[], roles=["reviewer"])
    path = api.post("/evaluation/reviews", json=sent).json()["data"]["id"]
    _as(visitor, "ann")
    visitor.open("/evaluation/reviews")
    visitor.page.evaluate("localStorage.setItem('llmops-locale', 'ko')")
    visitor.open("/evaluation/reviews")
    visitor.button("항목 받기: pairs").click()
    expect(visitor.page.get_by_role("heading", name="항목 1 / 2")).to_be_visible()
    shown = api.get(f"/evaluation/reviews/{path}/task", headers=headers("ann")).json()["data"]
    given = {"values": {"better": "tie"}, "shown": shown["digest"]}
    api.post(f"/evaluation/reviews/{path}/units/{shown['number']}/scores", json=given, headers=headers("ann"))
    visitor.page.keyboard.press("3")
    expect(visitor.page.get_by_role("radio", name="답변 2")).to_be_checked()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("alert")).to_contain_text("again elsewhere")
    _sound(visitor.page)
    assert len(visitor.refusals) == 1
