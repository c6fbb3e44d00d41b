"""Spending, budgets, prices and keys in the console, in both themes and by keyboard."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import expect

from llmops_resources.cost import ledger
from llmops_resources.cost.ledger import Entry
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.values import utc_now
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.journeys.accessibility import missed_by_tab, serious
from tests.journeys.browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
#: A message that has no words shows its key.
KEYS = r"() => document.body.innerText.match(/\b(cost|kit|shell)\.[a-z]\w*/g) ?? []"


def booked(platform: Platform) -> None:
    """Ten days of calls by two teams; those to one route have no price."""
    entries = [
        Entry(
            id=uuid4(), at=utc_now() - timedelta(days=day), team=team, key_id=None, actor_id="ann", route=route,
            model_id=uuid4(), model="tiny", prompt_tokens=900 + 40 * day, completion_tokens=300, holder=None,
            amount=Decimal(price) * (day % 4 + 1), currency="USD" if price else "", price_id=uuid4() if price else None,
        )
        for day in range(10)
        for team, route, price in (("nlp", "helper", 3), ("search", "ranker", 1), ("nlp", "toy", 0))
    ]  # fmt: skip
    with platform.transaction(Actor("system:gateway")) as tx:
        assert ledger.append(tx, entries) == len(entries)


def test_spending_is_seen_by_day_and_share_and_filtered_in_the_address(
    visitor: Console, platform: Platform, tmp_path: Path
) -> None:
    page = visitor.page
    page.goto(f"{visitor.root}/cost/spending")
    expect(page.get_by_text("No call was booked yet")).to_be_visible()
    booked(platform)
    page.reload()
    expect(page.get_by_text("$92.00")).to_be_visible()
    expect(page.get_by_text("10 calls had no price")).to_be_visible()
    assert page.evaluate(KEYS) == []
    assert serious(page, iframes=False) == []
    page.screenshot(path=tmp_path / "spending.png", full_page=True)
    page.get_by_label("Team").fill("search")
    expect(page).to_have_url(re.compile("team=search"))
    expect(page.get_by_text("$23.00").first).to_be_visible()
    page.get_by_label("Team").fill("nobody")
    expect(page.get_by_text("No call matches these filters")).to_be_visible()


def test_a_budget_and_a_price_are_set_and_a_wrong_one_is_explained(visitor: Console, tmp_path: Path) -> None:
    page = visitor.page
    page.goto(f"{visitor.root}/cost/budgets")
    page.get_by_role("region", name="Budgets").get_by_label("Team").fill("nlp")
    page.get_by_label("Amount").fill("250")
    page.get_by_role("button", name="Set budget").click()
    expect(page.get_by_text("$0.00 of $250.00")).to_be_visible()
    page.get_by_label("Model").fill("tiny")
    page.get_by_label("Prompt tokens").fill("0.5")
    page.get_by_label("Answer tokens").fill("1.5")
    page.get_by_role("button", name="Set price").click()
    row = page.get_by_role("row").filter(has_text="tiny")
    expect(row).to_contain_text("$1.50")
    page.mouse.move(0, 0)
    assert page.evaluate(KEYS) == []
    assert serious(page, iframes=False) == []
    page.screenshot(path=tmp_path / "budgets.png", full_page=True)
    page.get_by_role("button", name="Withdraw the budget of nlp").click()
    expect(page.get_by_text("No budget: nothing is refused for its cost.")).to_be_visible()


def test_what_a_team_may_ask_for_in_a_minute_is_set_changed_and_lifted_by_the_keyboard(
    visitor: Console, api: httpx.Client
) -> None:
    page = visitor.page
    page.goto(f"{visitor.root}/cost/budgets")
    limits = page.get_by_role("region", name="Limits of teams")
    expect(limits.get_by_text("No team has a limit")).to_be_visible()
    expect(limits.get_by_role("button", name="Set limits")).to_be_disabled()
    limits.get_by_label("Team").fill("n" * 200)
    limits.get_by_label("Requests a minute").fill("60")
    page.keyboard.press("Enter")
    expect(limits.get_by_text("at most 128 characters").first).to_be_visible()
    limits.get_by_label("Team").fill("nlp")
    page.keyboard.press("Enter")
    row = limits.get_by_role("row").filter(has_text="nlp")
    expect(row).to_contain_text("60")
    expect(limits.get_by_label("Team")).to_have_value("")

    row.get_by_role("button", name="Change the limits of nlp").press("Enter")
    expect(limits.get_by_label("Requests a minute")).to_have_value("60")
    limits.get_by_label("Tokens a minute").fill("9000")
    page.keyboard.press("Enter")
    expect(row).to_contain_text("9,000")
    (told,) = api.get("/governance/team-limits").json()["data"]
    assert (told["team"], told["requestsPerMinute"], told["tokensPerMinute"]) == ("nlp", 60, 9000)
    assert page.evaluate(KEYS) == []
    assert serious(page, iframes=False) == []
    page.reload()
    expect(row).to_contain_text("9,000")
    assert missed_by_tab(page) == []
    row.get_by_role("button", name="Lift the limits of nlp").press("Enter")
    expect(limits.get_by_text("No team has a limit")).to_be_visible()
    assert api.get("/governance/team-limits").json()["data"] == []


def test_a_key_is_issued_its_secret_seen_once_and_revoked(visitor: Console, api: httpx.Client, tmp_path: Path) -> None:
    page = visitor.page
    page.goto(f"{visitor.root}/cost/keys")
    expect(page.get_by_text("No keys yet")).to_be_visible()
    page.get_by_label("Name").fill("batch job")
    page.get_by_label("Team").fill("nlp")
    page.get_by_label("Requests a minute").fill("60")
    page.get_by_role("button", name="Issue a key").click()
    expect(page.get_by_text("The key batch job is issued")).to_be_visible()
    secret = page.get_by_role("status").locator("code").inner_text()
    assert len(secret) > 20
    assert page.evaluate(KEYS) == []
    assert serious(page, iframes=False) == []
    page.screenshot(path=tmp_path / "keys.png", full_page=True)
    page.reload()
    row = page.get_by_role("row").filter(has_text="batch job")
    expect(row).to_contain_text("Valid")
    assert secret not in page.content()
    assert missed_by_tab(page) == []
    row.get_by_role("button", name="Revoke the key batch job").click()
    expect(row).to_contain_text("Revoked")
    (key,) = api.get("/governance/api-keys").json()["data"]
    assert key["revokedAt"]
