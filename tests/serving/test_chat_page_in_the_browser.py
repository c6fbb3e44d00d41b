"""The chat page: an endpoint is chosen and talked to as set, and what was answered with a prompt gets a thumb."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, expect
from sqlalchemy import select

from llmops_resources.gateway.tables import FeedbackRow
from llmops_resources.platform import Platform
from llmops_resources.prompts.tables import ExposureRow
from llmops_resources.serving.endpoints import Endpoint
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.factories import ADMIN
from tests.gateway.conftest import ModelServer, deployed, eventually
from tests.gateway.conftest import model_server as model_server  # noqa: PLC0414  a fixture
from tests.journeys.accessibility import serious
from tests.journeys.browser import Console, console
from tests.prompts.prompts import approved_prompt, content

A_LONG_ONE = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 21}
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def endpoint(platform: Platform, model_server: ModelServer) -> Endpoint:
    """The healthy one of two endpoints."""
    deployed(platform, "http://127.0.0.1:1", route="other")
    return deployed(platform, model_server.url)


@pytest.fixture
def prompts(platform: Platform) -> list[str]:
    return [str(approved_prompt(platform, "answers", content(f"Way {number}:")).id) for number in (1, 2)]


@pytest.fixture
def visitor(api: httpx.Client, endpoint: Endpoint) -> Iterator[Console]:
    with console(str(api.base_url).removesuffix("/llm-ops/v1/")) as opened:
        opened.page.emulate_media(reduced_motion="reduce")
        yield opened


def made_with(api: httpx.Client, header: str, wanted: str) -> None:
    """Wait until calls are made with a prompt, or in an experiment."""
    hello = {"messages": [{"role": "user", "content": "hi"}], "user": "warming up"}
    eventually(lambda: api.post("/serve/support/chat", json=hello).headers.get(header) == wanted)


def ask(visitor: Console, text: str) -> Locator:
    """Ask something; the answer's thumbs."""
    asked = visitor.page.locator("[data-role=assistant]").count()
    visitor.field("Message").fill(text)
    visitor.field("Message").press("Enter")
    answer = visitor.page.locator("[data-role=assistant]").nth(asked)
    expect(answer).to_contain_text("7 prompt + 2 completion tokens")
    return answer.get_by_role("group", name="Rate this answer")


def test_an_endpoint_is_chosen_and_asked_with_the_settings_of_the_page(
    visitor: Console, endpoint: Endpoint, model_server: ModelServer
) -> None:
    visitor.open("/serving/chat")
    visitor.field("Endpoint").select_option("/other · dev · Healthy")
    visitor.field("Endpoint").select_option("/support · dev · Healthy")
    visitor.page.wait_for_url(f"**/serving/chat/{endpoint.id}")
    visitor.field("Temperature").fill("0.7")
    visitor.field("Max tokens").fill("33")
    visitor.field("System message").fill("Be brief.")
    rating = ask(visitor, "What is tea?")
    expect(visitor.page.get_by_role("log", name="Messages")).to_contain_text("hello world")
    expect(rating).to_have_count(0)  # there is no prompt to be rated
    sent = model_server.seen[-1]
    assert (sent["temperature"], sent["max_tokens"], sent["stream"]) == (0.7, 33, True)
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is tea?"}]  # fmt: skip
    ask(visitor, "And wine?")
    assert [each["content"] for each in model_server.seen[-1]["messages"][1:]] == [
        "What is tea?", "hello world", "And wine?"]  # fmt: skip
    model_server.mood = "dies"
    visitor.field("Message").fill("Still there?")
    visitor.field("Message").press("Enter")
    expect(visitor.page.get_by_role("alert")).to_contain_text("broke")
    expect(visitor.page.locator("[data-role=assistant]").nth(2)).to_contain_text("hello world")


def test_two_endpoints_are_asked_the_same_side_by_side_and_one_that_fails_leaves_the_other_alone(
    visitor: Console, endpoint: Endpoint, model_server: ModelServer, platform: Platform
) -> None:
    second = deployed(platform, model_server.url, route="second")
    visitor.open(f"/serving/chat/{endpoint.id}")
    visitor.field("Compare with").select_option("/second · dev · Healthy")
    visitor.page.wait_for_url(f"**/serving/chat/{endpoint.id}?beside={second.id}")
    visitor.field("Message").fill("What is tea?")
    visitor.field("Message").press("Enter")
    for name in ("support", "second"):
        log = visitor.page.get_by_role("log", name=f"Messages of /{name} · dev")
        expect(log.locator("[data-role=user]")).to_contain_text("What is tea?")
        expect(log.locator("[data-role=assistant]")).to_contain_text("7 prompt + 2 completion tokens")
    assert {each["model"] for each in model_server.seen[-2:]} == {"support", "second"}
    assert serious(visitor.page, iframes=False) == []

    visitor.page.reload()  # the address says who is compared
    visitor.field("Compare with").select_option("/other · dev · Healthy")  # nobody answers there
    visitor.field("Message").fill("And wine?")
    visitor.field("Message").press("Enter")
    expect(visitor.page.get_by_role("log", name="Messages of /support")).to_contain_text("hello world")
    expect(visitor.page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(visitor.page.get_by_role("log", name="Messages of /other").locator("[data-role=user]")).to_have_count(0)
    expect(visitor.field("Message")).to_have_value("")
    assert ["503" in each for each in visitor.complaints] == [True]  # the browser's own words for it
    visitor.complaints.clear()


def test_the_page_asks_for_no_more_tokens_than_the_routes_policy_gives(
    visitor: Console, api: httpx.Client, endpoint: Endpoint, model_server: ModelServer
) -> None:
    assert api.patch("/serving/routes/support/policy", json={"maxTokens": 20}).status_code == 200
    visitor.open(f"/serving/chat/{endpoint.id}")
    expect(visitor.field("Max tokens")).to_have_value("20")
    eventually(lambda: api.post("/serve/support/chat", json=A_LONG_ONE).status_code == 422)
    ask(visitor, "What is tea?")
    assert model_server.seen[-1]["max_tokens"] == 20


def test_an_answer_in_an_experiment_gets_a_thumb_by_the_keyboard_and_counts(
    visitor: Console, api: httpx.Client, platform: Platform, prompts: list[str]
) -> None:
    variants = [{"name": name, "promptId": each} for name, each in zip("ab", prompts, strict=True)]
    made = api.post("/prompts/experiments", json={"name": "kinder", "route": "support", "variants": variants})
    experiment = made.json()["data"]["id"]
    api.post(f"/prompts/experiments/{experiment}/start")
    made_with(api, "x-llmops-experiment", experiment)
    visitor.open("/serving/chat")
    visitor.field("Endpoint").select_option("/support · dev · Healthy")
    rating = ask(visitor, "What is tea?")
    up, down = (rating.get_by_role("button", name=name, exact=True) for name in ("Good answer", "Bad answer"))
    up.focus()
    visitor.page.keyboard.press("Tab")
    expect(down).to_be_focused()
    visitor.page.keyboard.press("Enter")
    expect(rating.get_by_role("status")).to_have_text("Kept for the experiment")
    expect(down).to_be_focused()
    expect(down).to_have_attribute("aria-pressed", "true")
    up.click(force=True)  # what was said stays
    expect(up).to_have_attribute("aria-pressed", "false")
    with platform.transaction(ADMIN) as tx:
        ratings = tx.session.scalars(select(ExposureRow.rating).where(ExposureRow.rating.is_not(None))).all()
    assert ratings == [0.0]
    assert serious(visitor.page, iframes=False) == []


def test_an_answer_with_a_bound_prompt_gets_a_thumb_in_korean_and_one_in_an_experiment_of_scores_none(
    visitor: Console, api: httpx.Client, platform: Platform, prompts: list[str]
) -> None:
    assert api.put("/serving/routes/support/prompt", json={"promptId": prompts[0]}).status_code == 200
    made_with(api, "x-llmops-prompt", prompts[0])
    visitor.page.add_init_script("localStorage.setItem('llmops-locale', 'ko')")
    visitor.open("/serving/chat")
    visitor.field("엔드포인트").select_option(label="/support · dev · 정상")
    box = visitor.page.get_by_role("textbox", name="메시지", exact=True)
    box.fill("차가 뭐야?")
    box.press("Enter")
    rating = visitor.page.get_by_role("group", name="이 답변 평가")
    rating.get_by_role("button", name="좋은 답변", exact=True).click()
    expect(rating.get_by_role("status")).to_have_text("프롬프트와 함께 기록했습니다")
    with platform.transaction(ADMIN) as tx:
        (kept,) = tx.session.scalars(select(FeedbackRow))
        assert (kept.kind, kept.value, str(kept.prompt_id), kept.experiment_id) == ("thumbs", 1.0, prompts[0], None)

    variants = [{"name": name, "promptId": each} for name, each in zip("ab", prompts, strict=True)]
    plan = {"name": "scored", "route": "support", "metric": "score", "variants": variants}
    experiment = api.post("/prompts/experiments", json=plan).json()["data"]["id"]
    api.post(f"/prompts/experiments/{experiment}/start")
    made_with(api, "x-llmops-experiment", experiment)
    box.fill("그리고 와인은?")
    box.press("Enter")
    expect(visitor.page.locator("[data-role=assistant]").nth(1)).to_contain_text("입력 7 + 출력 2 토큰")
    visitor.page.wait_for_load_state("networkidle")
    expect(rating).to_have_count(1)
