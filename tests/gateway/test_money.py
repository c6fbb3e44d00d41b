"""Limits and budgets in front of a real model server, over HTTP."""

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal

import aiohttp
import httpx
import pytest

from llmops_resources.cost import budgets, ledger, prices
from llmops_resources.cost.budgets import BudgetWish, Period
from llmops_resources.cost.ledger import Dimension, Spending
from llmops_resources.cost.prices import PriceWish
from llmops_resources.database import Transaction
from llmops_resources.gateway import policies
from llmops_resources.gateway.policies import TeamLimits
from llmops_resources.platform import Platform
from llmops_resources.serving.endpoints import Endpoint
from serving_api.gateway import create_gateway
from tests.factories import ADMIN
from tests.gateway.conftest import ModelServer, eventually, running_asgi
from tests.gateway.test_api_keys import CHAT, HELLO, issued, works

#: The model server says 7 tokens of prompt and 2 of answer.
ONE_CALL = Decimal(7 * 1000 + 2 * 3000) / 1_000_000


@pytest.fixture
def patient_gateway(platform: Platform, endpoint: Endpoint) -> Iterator[str]:
    """One that waits as in production: on a busy machine a thousand calls take longer than the others' second."""
    assert endpoint.route == "support"
    with running_asgi(create_gateway(platform)) as address:
        yield address


def do(platform: Platform, verb: Callable[[Transaction], object]) -> None:
    with platform.transaction(ADMIN) as tx:
        verb(tx)


def priced(platform: Platform) -> None:
    wish = PriceWish(model="m-support", prompt=Decimal(1000), completion=Decimal(3000))
    do(platform, lambda tx: prices.declare(tx, wish))


def budgeted(platform: Platform, amount: str) -> None:
    wish = BudgetWish(team="shop", period=Period.MONTH, amount=Decimal(amount))
    do(platform, lambda tx: budgets.declare(tx, wish))


def spent(platform: Platform) -> Spending | None:
    with platform.transaction(ADMIN) as tx:
        return next((each for each in ledger.spending(tx, [Dimension.TEAM]) if each.team == "shop"), None)


def settled(platform: Platform, calls: int) -> Spending:
    eventually(lambda: (found := spent(platform)) is not None and found.calls == calls)
    found = spent(platform)
    assert found is not None
    return found


def test_a_key_over_its_calls_a_minute_is_told_when_to_come_back(client: httpx.Client, platform: Platform) -> None:
    _key, headers = issued(platform, requests_per_minute=3)
    works(client, headers)
    answers = [client.post(CHAT, json=HELLO, headers=headers) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["data"]["kind"] == "too_many_requests"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    by_openai = client.post("/openai/v1/chat/completions", json={**HELLO, "model": "support"}, headers=headers)
    assert (by_openai.status_code, by_openai.json()["error"]["type"]) == (429, "rate_limit_error")


def test_many_keys_of_a_team_share_its_limit_and_headers_make_nobody_another(
    client: httpx.Client, platform: Platform
) -> None:
    do(platform, lambda tx: policies.limit_team(tx, TeamLimits(team="shop", requests_per_minute=4)))
    keys = [issued(platform, name=f"app {number}")[1] for number in range(6)]
    works(client, keys[-1])
    tricks = ({"x-forwarded-for": "10.0.0.9"}, {"x-user-id": "eve"}, {"forwarded": "for=10.1.1.1"}, {}, {}, {})
    statuses = [
        client.post(CHAT, json=HELLO, headers={**key, **trick}).status_code
        for key, trick in zip(keys, tricks, strict=True)
    ]
    assert statuses == [200, 200, 200, 429, 429, 429]


def test_tokens_a_minute_are_charged_at_the_bound_and_given_back(client: httpx.Client, platform: Platform) -> None:
    _key, headers = issued(platform, tokens_per_minute=200)
    works(client, {**headers}, 413)  # without max_tokens it could take 4000
    small = {**HELLO, "max_tokens": 100}
    for _ in range(5):  # 115 each at the bound, 9 in truth
        assert client.post(CHAT, json=small, headers=headers).status_code == 200
    for _ in range(20):
        last = client.post(CHAT, json=small, headers=headers)
        if last.status_code == 429:
            break
    assert last.status_code == 429


def test_a_budget_is_spent_to_the_last_call_that_fits_and_every_call_is_in_the_ledger(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    priced(platform)
    budgeted(platform, "0.5")  # the bound of one call: about 0.34 for the prompt's bytes, 0.03 for the answer
    key, headers = issued(platform)
    small = {**HELLO, "max_tokens": 10}
    works(client, headers, 429)  # without max_tokens it could cost 12
    answers = [client.post(CHAT, json=small, headers=headers) for _ in range(20)]

    good = sum(answer.status_code == 200 for answer in answers)
    assert 0 < good < 20
    assert {answer.status_code for answer in answers} == {200, 429}
    sums = settled(platform, good)
    assert (sums.amount, sums.prompt_tokens, sums.currency) == (good * ONE_CALL, 7 * good, "USD")
    assert len(model_server.seen) == good
    assert all(seen["max_tokens"] == 10 for seen in model_server.seen)
    with platform.transaction(ADMIN) as tx:
        (row,) = ledger.spending(tx, list(Dimension))
    assert (row.route, row.model, row.calls) == ("support", "m-support", good)
    assert key.team == row.team


@pytest.mark.timeout(180)
def test_a_thousand_calls_at_once_do_not_overspend_a_nearly_empty_budget(
    patient_gateway: str, platform: Platform, model_server: ModelServer
) -> None:
    priced(platform)
    budgeted(platform, "1")
    _key, headers = issued(platform)
    with httpx.Client(base_url=patient_gateway, verify=not patient_gateway.startswith("http://")) as client:
        works(client, headers, 429)
    small = {**HELLO, "max_tokens": 2}

    async def flood() -> list[int]:
        connector = aiohttp.TCPConnector(limit=1000)
        async with aiohttp.ClientSession(patient_gateway, connector=connector, headers=headers) as session:

            async def one() -> int:
                async with session.post(CHAT, json=small) as answer:
                    await answer.read()
                    return answer.status

            return list(await asyncio.gather(*(one() for _ in range(1000))))

    statuses = asyncio.run(flood())
    good = statuses.count(200)
    assert set(statuses) <= {200, 429}
    assert 2 <= good <= int(Decimal(1) / ONE_CALL)
    assert len(model_server.seen) == good
    assert settled(platform, good).amount <= 1


def test_a_stream_that_is_cut_midway_is_paid_and_what_was_set_aside_is_free_again(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    priced(platform)
    budgeted(platform, "1")
    _key, headers = issued(platform)
    works(client, headers, 429)
    model_server.mood = "dies"
    with client.stream("POST", CHAT, json={**HELLO, "stream": True, "max_tokens": 5}, headers=headers) as answer:
        list(answer.iter_lines())
    sums = settled(platform, 1)
    assert sums.completion_tokens == 2
    assert 0 < sums.amount < Decimal("0.5")
    model_server.mood = "well"
    assert client.post(CHAT, json={**HELLO, "max_tokens": 5}, headers=headers).status_code == 200


def test_a_server_that_claims_to_have_taken_nothing_is_not_believed(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    priced(platform)
    _key, headers = issued(platform)
    model_server.mood = "counts nothing"
    works(client, headers)

    assert settled(platform, 1).amount > 0


def test_a_model_without_a_price_is_refused_where_a_budget_is_to_be_kept(
    client: httpx.Client, platform: Platform, model_server: ModelServer
) -> None:
    budgeted(platform, "1")
    _key, headers = issued(platform)
    works(client, headers, 409)

    assert "cost/prices" in client.post(CHAT, json=HELLO, headers=headers).json()["message"]
    assert model_server.seen == []
    priced(platform)
    works(client, headers, 429)


def test_a_token_bomb_is_charged_for_every_answer_it_asks_for(client: httpx.Client, platform: Platform) -> None:
    priced(platform)
    budgeted(platform, "1")
    _key, headers = issued(platform)
    works(client, headers, 429)
    body = {**HELLO, "model": "support", "max_tokens": 50}

    def status(path: str = "/openai/v1/chat/completions", **fields: object) -> int:
        return client.post(path, json={**body, **fields}, headers=headers).status_code

    assert status() == 200
    assert status(n=8) == 429
    assert status(max_completion_tokens=100_000) == 429
    assert status("/openai/v1/completions", prompt=["a", "b", "c", "d", "e", "f"]) == 429
    assert status("/openai/v1/completions", prompt="a", best_of=8) == 429
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert status(messages=[{"role": "user", "content": [picture]}]) == 429
