"""Experiments at the gateway: who gets what, counted once, rated once, and over within a second."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from llmops_resources.catalog import approvals
from llmops_resources.catalog.lifecycle import Status
from llmops_resources.gateway.tables import FeedbackRow
from llmops_resources.platform import Platform
from llmops_resources.prompts import bindings
from llmops_resources.prompts.experiments import library, observations, running
from llmops_resources.prompts.experiments.library import Experiment, ExperimentWish, VariantWish
from llmops_resources.prompts.experiments.plan import Measure
from llmops_resources.prompts.library import Prompt
from llmops_resources.prompts.tables import ExposureRow
from tests.factories import ADMIN
from tests.gateway.conftest import ModelServer, eventually
from tests.gateway.test_api_keys import CHAT, HELLO, issued
from tests.gateway.test_resilience import policy
from tests.prompts.prompts import approved_prompt, content

FEEDBACK = "/llm-ops/v1/serve/support/feedback"


@pytest.fixture
def prompts(platform: Platform, gateway: str) -> list[Prompt]:
    """Two approved versions, the first of which is bound."""
    made = [approved_prompt(platform, "answers", content(f"Way {number}:")) for number in (1, 2)]
    with platform.transaction(ADMIN) as tx:
        bindings.bind(tx, "support", made[0].id)
    return made


def started(platform: Platform, prompts: list[Prompt], **fields: Any) -> Experiment:
    wish = ExperimentWish(
        name="kinder", route="support",
        variants=tuple(VariantWish(name=name, prompt_id=each.id) for name, each in zip("ab", prompts, strict=True)),
        **fields,
    )  # fmt: skip
    with platform.transaction(ADMIN) as tx:
        return running.start(tx, library.create(tx, wish).id)


def users(platform: Platform, experiment: Experiment) -> list[ExposureRow]:
    with platform.transaction(ADMIN) as tx:
        query = select(ExposureRow).filter_by(experiment_id=experiment.id).order_by(ExposureRow.number)
        return list(tx.session.scalars(query))


def ask(client: httpx.Client, user: str, headers: dict[str, str] | None = None) -> httpx.Response:
    answer = client.post(CHAT, json={**HELLO, "user": user}, headers=headers)
    assert answer.status_code == 200
    return answer


def runs(client: httpx.Client, experiment: Experiment) -> Callable[[], bool]:
    return lambda: ask(client, "warming up").headers.get("x-llmops-experiment") == str(experiment.id)


def rate(client: httpx.Client, answer: httpx.Response, headers: dict[str, str] | None = None, **said: Any) -> int:
    """The status, once the exchange is booked."""
    body = {"exchangeId": answer.headers["x-llmops-exchange"], **said}
    eventually(lambda: client.post(FEEDBACK, json=body, headers=headers).status_code != 404)
    return client.post(FEEDBACK, json=body, headers=headers).status_code


def test_a_user_stays_with_a_variant_is_counted_once_and_rates_once(
    client: httpx.Client, platform: Platform, prompts: list[Prompt], model_server: ModelServer
) -> None:
    experiment = started(platform, prompts)
    eventually(runs(client, experiment))
    seen: dict[str, set[str]] = {}
    last: dict[str, httpx.Response] = {}
    for _ in range(3):
        for user in (f"user {number}" for number in range(20)):
            last[user] = ask(client, user)
            seen.setdefault(user, set()).add(last[user].headers["x-llmops-prompt"])
            assert model_server.seen[-1]["messages"][0]["content"].startswith("Way ")
    assert all(len(variants) == 1 for variants in seen.values())
    assert set.union(*seen.values()) == {str(each.id) for each in prompts}
    eventually(lambda: len(users(platform, experiment)) == 21)

    assert rate(client, last["user 0"], thumbs="up") == 200
    assert rate(client, last["user 0"], thumbs="up") == 200
    assert rate(client, last["user 0"], thumbs="down") == 409
    assert rate(client, ask(client, "user 0"), thumbs="down") == 200  # kept, and not counted
    rated = [each for each in users(platform, experiment) if each.rating is not None]
    assert [(each.rating, each.failed) for each in rated] == [(1.0, False)]
    with platform.transaction(ADMIN) as tx:
        assert tx.session.scalar(select(func.count()).select_from(FeedbackRow)) == 2


def test_feedback_is_for_ones_own_answers_and_of_the_kind_that_is_measured(
    client: httpx.Client, platform: Platform, prompts: list[Prompt]
) -> None:
    experiment = started(platform, prompts, metric=Measure.SCORE)
    _key, mine = issued(platform)
    _other, theirs = issued(platform, name="else", team="else")
    eventually(runs(client, experiment))
    eventually(lambda: client.post(CHAT, json=HELLO, headers=theirs).status_code == 200)
    answer = ask(client, "ada", mine)
    assert rate(client, answer, mine, score=0.75) == 200
    body = {"exchangeId": answer.headers["x-llmops-exchange"], "score": 0.75}
    assert client.post(FEEDBACK, json=body, headers=theirs).status_code == 404
    assert client.post(FEEDBACK, json=body, headers={"x-user-id": "eve", "x-user-roles": "viewer"}).status_code == 403
    other = ask(client, "bob", mine)
    assert rate(client, other, mine, thumbs="up") == 422
    for wrong in ({}, {"thumbs": "up", "score": 1}, {"score": 2}, {"thumbs": "sideways"}, {"score": 1, "x": 1}):
        said = {"exchangeId": other.headers["x-llmops-exchange"], **wrong}
        assert client.post(FEEDBACK, json=said, headers=mine).status_code == 422
    assert client.post(FEEDBACK, content=b"{", headers={**mine, "content-type": "application/json"}).status_code == 400
    with platform.transaction(ADMIN) as tx:
        seen, _periods = observations.read(tx, experiment.id, experiment.plan)
    assert sorted(rating for each in seen.values() for rating in each.ratings) == [0.75]


def test_the_same_name_at_two_teams_is_two_users(
    client: httpx.Client, platform: Platform, prompts: list[Prompt]
) -> None:
    experiment = started(platform, prompts)
    keys = [issued(platform, name=team, team=team)[1] for team in ("one", "two")]
    eventually(runs(client, experiment))
    eventually(lambda: client.post(CHAT, json=HELLO, headers=keys[1]).status_code == 200)
    for key in keys:
        ask(client, "grace", key)  # no hexadecimal digits, which a subject is made of
    eventually(lambda: len(users(platform, experiment)) >= 4)
    assert not any("grace" in each.subject for each in users(platform, experiment))


def test_stopping_sends_everybody_back_to_the_binding_within_a_second(
    client: httpx.Client, platform: Platform, prompts: list[Prompt]
) -> None:
    experiment = started(platform, prompts)
    eventually(runs(client, experiment))
    with platform.transaction(ADMIN) as tx:
        running.rollback(tx, "support")
    eventually(lambda: "x-llmops-experiment" not in ask(client, "ada").headers, 2.0)
    assert {ask(client, f"user {n}").headers["x-llmops-prompt"] for n in range(8)} == {str(prompts[0].id)}


def test_a_variant_that_loses_its_approval_ends_the_experiment_and_its_users_get_the_binding(
    client: httpx.Client, platform: Platform, prompts: list[Prompt]
) -> None:
    experiment = started(platform, prompts)
    eventually(runs(client, experiment))
    with platform.transaction(ADMIN) as tx:
        approvals.change_status(tx, prompts[1].id, Status.DEPRECATED)
    eventually(lambda: "x-llmops-experiment" not in ask(client, "ada").headers)
    with platform.transaction(ADMIN) as tx:
        assert running.look_at(tx, experiment.id)
        assert library.get(tx, experiment.id).ending == "withdrawn"


def test_failed_calls_count_and_a_failure_is_what_the_guard_rail_sees(
    client: httpx.Client, platform: Platform, prompts: list[Prompt], model_server: ModelServer
) -> None:
    experiment = started(platform, prompts)
    eventually(runs(client, experiment))
    eventually(lambda: len(users(platform, experiment)) == 1)
    model_server.mood = "broken"
    assert client.post(CHAT, json={**HELLO, "user": "unlucky"}).status_code == 502
    eventually(lambda: len(users(platform, experiment)) == 2)
    last = users(platform, experiment)[-1]
    assert (last.failed, last.latency_ms) == (True, None)


def test_answers_are_not_remembered_while_an_experiment_runs(
    client: httpx.Client, platform: Platform, prompts: list[Prompt]
) -> None:
    policy(platform, cache_seconds=60)
    experiment = started(platform, prompts)
    eventually(runs(client, experiment))
    answers = [ask(client, "ada") for _ in range(3)]
    assert all("x-llmops-cache" not in answer.headers for answer in answers)
    assert len({UUID(answer.headers["x-llmops-exchange"]) for answer in answers}) == 3
