"""Prices, spending, budgets, limits and policies over HTTP and on the command line."""

import httpx

from llmops_resources.cost import ledger
from llmops_resources.platform import Platform
from tests.api.shell import Shell
from tests.cost.test_budgets import an_entry
from tests.factories import ADMIN

PRICE = {"provider": "openai", "model": "gpt-x", "prompt": "0.15", "completion": "0.6"}
VIEWER = {"X-User-Id": "vera", "X-User-Roles": "viewer"}


def test_a_price_is_declared_exactly_and_its_history_kept(api: httpx.Client) -> None:
    made = api.post("/cost/prices", json=PRICE).json()["data"]
    api.post("/cost/prices", json={**PRICE, "prompt": "0.1"})
    found = api.get("/cost/prices", params={"model": "gpt-x"}).json()["data"]

    assert made["createdBy"] == "local-admin"
    assert [each["prompt"] for each in found] == ["0.100000000000", "0.150000000000"]
    assert api.get("/audit/logs", params={"action": "price.declare"}).json()["data"]


def test_prices_that_cannot_be_are_refused_field_by_field(api: httpx.Client) -> None:
    wrong = {"provider": "", "model": "", "prompt": "-1", "completion": "0.0000001", "currency": "usd"}
    answer = api.post("/cost/prices", json=wrong)

    assert answer.status_code == 422
    assert {each["path"] for each in answer.json()["data"]["errors"]} == set(wrong)
    assert api.post("/cost/prices", json={**PRICE, "validFrom": "2020-01-01T00:00:00Z"}).status_code == 422
    assert api.post("/cost/prices", json={**PRICE, "prompt": "NaN"}).status_code == 422


def test_spending_is_shown_by_what_is_asked_and_corrected_by_an_entry(api: httpx.Client, platform: Platform) -> None:
    entry = an_entry()
    with platform.transaction(ADMIN) as tx:
        ledger.append(tx, [entry, an_entry(team="lab")])
    fix = api.post(f"/cost/entries/{entry.id}/corrections", json={"amount": "-0.05", "reason": "late feed"})
    assert fix.json()["data"]["corrects"] == str(entry.id)

    by_team = api.get("/cost/usage", params={"groupBy": "team"}).json()["data"]
    assert [(each["team"], each["amount"], each["calls"]) for each in by_team] == [
        ("lab", "0.250000000000", 1), ("shop", "0.200000000000", 1),
    ]  # fmt: skip
    everything = api.get("/cost/usage", params={"team": "shop"}).json()["data"]
    assert everything[0]["day"] == entry.at.date().isoformat()
    assert api.get("/cost/usage", params={"groupBy": "colour"}).status_code == 422


def test_a_budget_is_declared_changed_shown_and_withdrawn(api: httpx.Client) -> None:
    wish = {"team": "shop", "period": "month", "amount": "10"}
    made = api.post("/governance/budgets", json=wish).json()["data"]
    again = api.post("/governance/budgets", json={**wish, "amount": "20"}).json()["data"]

    assert again["id"] == made["id"]
    (standing,) = api.get("/governance/budgets").json()["data"]
    assert (standing["budget"]["amount"], standing["spent"]) == ("20.000000000000", "0")
    assert api.delete(f"/governance/budgets/{made['id']}").status_code == 200
    assert api.delete(f"/governance/budgets/{made['id']}").status_code == 404
    assert api.get("/governance/budgets").json()["data"] == []


def test_a_policy_is_patched_field_by_field(api: httpx.Client) -> None:
    path = "/serving/routes/support/policy"
    api.patch(path, json={"maxTokens": 100, "cacheSeconds": 60})
    after = api.patch(path, json={"cacheSeconds": None, "maskOutput": True}).json()["data"]

    assert (after["maxTokens"], after["cacheSeconds"], after["maskOutput"]) == (100, None, True)
    assert api.get(path).json()["data"] == after
    assert api.patch(path, json={"fallbackRoute": "nowhere"}).json()["data"]["errors"][0]["path"] == "fallbackRoute"
    assert api.patch(path, json={"maskInput": None}).status_code == 422
    assert api.patch("/serving/routes/No%20Route/policy", json={}).status_code == 422


def test_who_may_not_is_refused_everywhere(api: httpx.Client) -> None:
    statuses = [
        api.request(method, path, headers=VIEWER, json=body).status_code
        for method, path, body in (
            ("POST", "/cost/prices", PRICE), ("GET", "/cost/usage", None), ("GET", "/cost/prices", None),
            ("POST", "/governance/budgets", {"team": "a", "period": "day", "amount": 1}),
            ("GET", "/governance/budgets", None), ("PUT", "/governance/team-limits/shop", {}),
            ("PATCH", "/serving/routes/support/policy", {}),
        )
    ]  # fmt: skip
    assert set(statuses) == {403}


def test_all_of_it_is_on_the_command_line_too(llmops: Shell, platform: Platform) -> None:
    with platform.transaction(ADMIN) as tx:
        ledger.append(tx, [an_entry()])
    assert "a million tokens" in llmops("cost", "price", "m", "--prompt", "1", "--completion", "2")
    assert "internal" in llmops("cost", "prices")
    assert "may spend" in llmops("cost", "budget", "shop", "5", "--period", "day")
    assert "all keys" in llmops("cost", "budgets")
    assert "60 calls" in llmops("cost", "limit", "shop", "--requests", "60")
    assert "support" in llmops("cost", "usage", "--by", "route", "--by", "team")
    assert llmops.json("cost", "usage")[0]["team"] == "shop"
