"""An evaluation through an endpoint is asked for in the console, and its page says who answered and what it cost."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from llmops_resources.catalog.versions import Version
from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  fixtures
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.assets.conftest import Materialize
from tests.assets.conftest import instance as instance  # noqa: PLC0414
from tests.assets.conftest import materialize as materialize  # noqa: PLC0414
from tests.evaluation.answer_server import AnswerServer
from tests.evaluation.pages import is_sound
from tests.evaluation.test_answers_over_http import ASSET, _served, priced, requested, set_budget
from tests.evaluation.test_answers_over_http import exam as exam  # noqa: PLC0414
from tests.evaluation.test_answers_over_http import outsider as outsider  # noqa: PLC0414
from tests.evaluation.test_answers_over_http import server as server  # noqa: PLC0414
from tests.evaluation.test_answers_over_http import settings as settings  # noqa: PLC0414
from tests.journeys.browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


def test_answers_come_from_the_endpoint_that_was_chosen_and_the_page_says_so(
    platform: Platform, server: AnswerServer, exam: Version, visitor: Console, materialize: Materialize
) -> None:
    server.model = "chat"
    endpoint = _served(platform, server)
    page = visitor.page
    visitor.open(f"/evaluation/runs/new?modelId={endpoint.model_id}")
    visitor.field("Benchmark").select_option("exam 1")
    expect(page.get_by_label("Questions at once")).to_have_count(0)  # the model's own files are nobody's server
    visitor.field("Answers from").select_option("dev/chat")
    expect(page.get_by_label("Questions at once")).to_have_value("4")
    is_sound(visitor, "create-over-http")
    visitor.button("Start evaluation").press("Enter")
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    assert materialize(("evaluations", "ours", "exam"), row=f"{page.url.rsplit('/', 1)[1]}:1").success
    visitor.button("Refresh").press("Enter")
    asked = page.get_by_role("region", name="Asked over HTTP")
    expect(asked).to_contain_text("The endpoint chat answered.")
    expect(asked).to_contain_text("11 of 11")
    expect(asked).to_contain_text("1,100 / 110")
    expect(asked).to_contain_text("unknown: no price")
    is_sound(visitor, "asked-over-http")


def test_an_external_model_can_be_chosen_and_has_its_provider_asked(
    outsider: Version, exam: Version, visitor: Console, api: httpx.Client
) -> None:
    page = visitor.page
    visitor.open("/evaluation/runs/new")
    visitor.field("Model").select_option("outsider 1")
    visitor.field("Benchmark").select_option("exam 1")
    expect(page.get_by_text("perplexity is left out")).to_be_visible()
    page.get_by_label("Questions at once").fill("2")
    visitor.button("Start evaluation").press("Enter")
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    run = api.get(f"/evaluation/runs/{page.url.rsplit('/', 1)[1]}").json()["data"]
    assert run["through"] == {"endpointId": None, "route": "", "atOnce": 2}
    assert "perplexity" not in run["suite"]["metrics"]


def test_an_evaluation_that_used_up_its_budget_is_resumed_when_that_is_raised(
    platform: Platform,
    server: AnswerServer,
    outsider: Version,
    exam: Version,
    visitor: Console,
    api: httpx.Client,
    materialize: Materialize,
) -> None:
    priced(platform)
    set_budget(platform, "0.1")
    made = requested(api, outsider, exam)
    materialize(ASSET, row=f"{made['id']}:1")
    page = visitor.page
    visitor.open(f"/evaluation/runs/{made['id']}")
    expect(page.get_by_role("alert")).to_contain_text("the budget of research of 0.1 USD a day has no 0.048 left")
    is_sound(visitor, "out-of-budget")
    set_budget(platform, "1")
    visitor.button("Resume").press("Enter")
    expect(visitor.badge("Queued")).to_be_visible()
    materialize(ASSET, row=f"{made['id']}:2")
    visitor.button("Refresh").press("Enter")
    asked = page.get_by_role("region", name="Asked over HTTP")
    expect(asked).to_contain_text("11 of 11")
    assert len(server.asked) == 11
