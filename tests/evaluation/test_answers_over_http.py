"""Evaluations of models that are asked over HTTP: at a provider or at an endpoint, paid for, and never asked twice."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from llmops_assets import scratch
from llmops_assets.claims import ACTOR
from llmops_assets.evaluation import outside
from llmops_resources.catalog import providers
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.providers import Provider
from llmops_resources.catalog.versions import Version
from llmops_resources.cost import budgets, ledger, prices
from llmops_resources.cost.budgets import BudgetStanding, BudgetWish, Period
from llmops_resources.cost.ledger import Dimension
from llmops_resources.cost.prices import PriceWish
from llmops_resources.database import Actor
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.runs import EvaluationTask
from llmops_resources.evaluation.through import Through
from llmops_resources.platform import Platform, open_platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus, Environment, Observation
from llmops_resources.settings import Settings
from tests.api.conftest import api as api  # noqa: PLC0414  fixtures
from tests.api.conftest import llmops as llmops  # noqa: PLC0414
from tests.api.shell import Shell
from tests.assets.conftest import Materialize
from tests.assets.conftest import instance as instance  # noqa: PLC0414
from tests.assets.conftest import materialize as materialize  # noqa: PLC0414
from tests.evaluation.answer_server import AnswerServer, running_model
from tests.factories import ADMIN, CARD, approve, approved

ROWS = 12
KEY = "sk-do-not-tell-anybody"
ASSET = ("evaluations", "outsider", "exam")


@pytest.fixture
def server() -> Iterator[AnswerServer]:
    with running_model() as running:
        yield running


@pytest.fixture
def settings(settings: Settings, server: AnswerServer) -> Settings:
    """An operator who allows the provider's address, and nothing else inside."""
    return settings.model_copy(update={"outbound_allowed_hosts": (f"127.0.0.1:{server.port}",)})


@pytest.fixture
def exam(platform: Platform) -> Version:
    """Twelve questions of which the last is empty; the answer to question 3 is `question 3`, and so on."""
    rows = "".join(f"question {at},question {at}\n" for at in range(ROWS - 1)) + '"",nothing\n'
    files = {"part-0001.csv": ("question,answer\n" + rows).encode()}
    return approved(platform, Kind.DATASET, "exam", files=files, benchmark=True)


@pytest.fixture
def outsider(platform: Platform, server: AnswerServer) -> Version:
    """A draft of an external model, with a key."""
    config = providers.configure(
        provider=Provider.OPENAI_COMPATIBLE,
        model_name="answers-1",
        endpoint=f"http://127.0.0.1:{server.port}/v1",
        allowed_hosts=platform.settings.outbound_allowed_hosts,
    )
    with platform.transaction(ADMIN) as tx:
        return providers.register(
            tx, platform.settings, name="outsider", version="1", owner_team="research", metadata=CARD, config=config,
            api_key=SecretStr(KEY),
        )  # fmt: skip


PRICE = PriceWish(provider="openai_compatible", model="answers-1", prompt=Decimal(0), completion=Decimal(1_000))


def priced(platform: Platform, wish: PriceWish = PRICE) -> None:
    with platform.transaction(ADMIN) as tx:
        prices.declare(tx, wish)


def requested(api: httpx.Client, model: Version, exam: Version, **more: Any) -> Any:
    body = {"modelId": str(model.id), "datasetId": str(exam.id), **more}
    answer = api.post("/evaluation/runs", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def evaluated(api: httpx.Client, materialize: Materialize, made: Any, asset: tuple[str, ...] = ASSET) -> Any:
    materialize(asset, row=f"{made['id']}:1")
    return api.get(f"/evaluation/runs/{made['id']}").json()["data"]


def test_an_external_model_is_asked_at_its_provider_and_the_run_says_what_it_cost(
    platform: Platform,
    api: httpx.Client,
    server: AnswerServer,
    outsider: Version,
    exam: Version,
    materialize: Materialize,
) -> None:
    priced(platform, PRICE.model_copy(update={"prompt": Decimal(3), "completion": Decimal(9)}))
    server.rule = lambda question: question if question != "question 4" else "something else"
    server.delay = 0.05
    made = requested(api, outsider, exam, atOnce=3)
    assert made["suite"]["metrics"] == ["exact_match", "f1", "bleu"]  # a provider foresees nothing aloud
    done = evaluated(api, materialize, made)
    assert done["state"]["status"] == "succeeded", done["state"]["error"]
    assert done["result"]["metrics"]["exact_match"]["value"] == pytest.approx(10 / 11)
    assert done["result"]["counts"] == {"total": 12, "scored": 11, "unscored": 1}
    generation = done["result"]["generation"]
    assert Decimal(generation.pop("cost")) == Decimal(11) * (Decimal(300) + Decimal(90)) / 1_000_000
    assert generation == {
        "by": "provider", "asked": 11, "answered": 11, "unanswered": 0, "inputTokens": 1_100, "outputTokens": 110,
        "currency": "USD", "repeatable": False,
    }  # fmt: skip
    assert done["result"]["protocol"]["decoding"]["repeatable"] is False
    assert server.keys == {f"Bearer {KEY}"}
    assert Counter(server.asked).most_common(1)[0][1] == 1
    assert 1 < server.busiest <= 3
    with platform.transaction(ADMIN) as tx:
        (spent,) = ledger.spending(tx, [Dimension.ROUTE, Dimension.TEAM])
    assert (spent.route, spent.team, spent.calls, spent.unpriced) == ("evaluation", "research", 11, 0)
    assert spent.amount == Decimal("0.00429")


def test_a_server_that_asks_to_wait_is_waited_for_and_no_answer_is_lost(
    api: httpx.Client, server: AnswerServer, outsider: Version, exam: Version, materialize: Materialize
) -> None:
    server.refusals = 2
    server.counts = False
    done = evaluated(api, materialize, requested(api, outsider, exam, atOnce=2))
    assert done["result"]["metrics"]["exact_match"] == {"value": 1.0, "n": 11, "low": 1.0, "high": 1.0}
    assert min(server.answered_at.values()) - min(server.refused_at.values()) >= 0.9
    assert all(server.answered_at[question] - at >= 0.9 for question, at in server.refused_at.items())
    generation = done["result"]["generation"]
    assert (generation["inputTokens"], generation["cost"]) == (None, None)  # nobody counted: unknown, and not free


def test_a_provider_that_fails_to_the_end_fails_the_run_and_its_key_is_told_nowhere(
    platform: Platform,
    api: httpx.Client,
    server: AnswerServer,
    outsider: Version,
    exam: Version,
    materialize: Materialize,
) -> None:
    server.status, server.complaint = 401, f"the key {KEY} is not known"
    failed = evaluated(api, materialize, requested(api, outsider, exam))
    assert (failed["state"]["status"], failed["result"]) == ("failed", None)
    assert "the provider refuses the platform's key" in failed["state"]["error"]
    assert KEY not in str(failed)
    server.status, server.rule = 200, lambda question: KEY if question == "question 1" else question
    done = evaluated(api, materialize, requested(api, outsider, exam))
    assert KEY not in str(done)
    assert done["result"]["generation"]["unanswered"] == 1
    assert done["result"]["counts"]["unscored"] == 2
    only = api.post(
        "/evaluation/runs", json={"modelId": str(outsider.id), "datasetId": str(exam.id), "metrics": ["perplexity"]}
    )
    assert only.status_code == 422
    assert "only models with files here" in only.text


def _task(platform: Platform, outsider: Version, exam: Version) -> tuple[EvaluationTask, Through]:
    with platform.transaction(ADMIN) as tx:
        run = runs.request(tx, model_id=outsider.id, dataset_id=exam.id)
    with platform.transaction(Actor("system:dagster")) as tx:
        task = runs.claim(tx, run.id, attempt=1, run_id="r")
    assert task.evaluation.through is not None
    return task, task.evaluation.through


def _evaluate(platform: Platform, task: EvaluationTask, through: Through, work: Path) -> Any:
    if not (work / "data").exists():
        scratch.fetch(platform, task.dataset, work / "data")
    return outside.evaluate(platform, task, through, work, lambda _fraction, _message: None)


def _until_killed(settings: Settings, run_id: UUID, work: str) -> None:
    with open_platform(settings, application="test") as platform:
        with platform.transaction(ACTOR) as tx:
            run = runs.get(tx, run_id)
            task = runs.task(tx, run)
        assert run.through is not None
        _evaluate(platform, task, run.through, Path(work))


@pytest.mark.slow
def test_an_attempt_after_a_killed_one_asks_and_pays_for_what_is_missing_only(
    platform: Platform, settings: Settings, server: AnswerServer, outsider: Version, exam: Version, tmp_path: Path
) -> None:
    task, through = _task(platform, outsider, exam)
    (tmp_path / "whole").mkdir()
    whole = _evaluate(platform, task, through, tmp_path / "whole")
    server.asked.clear()
    server.delay = 0.3
    (tmp_path / "killed").mkdir()
    child = multiprocessing.get_context("spawn").Process(
        target=_until_killed, args=(settings, task.evaluation.id, str(tmp_path / "killed"))
    )
    child.start()
    while len(server.asked) < 6:
        assert child.is_alive()
        time.sleep(0.02)
    child.kill()
    child.join()
    server.delay = 0.0
    while not server.is_idle:
        time.sleep(0.02)
    kept = (tmp_path / "killed" / "partial.jsonl").read_text().count('"name"')
    assert 1 <= kept < 11
    before = len(server.asked)
    again = _evaluate(platform, task, through, tmp_path / "killed")
    assert len(server.asked) - before == 11 - kept
    assert (again.metrics, again.samples, again.generation) == (whole.metrics, whole.samples, whole.generation)
    with platform.transaction(ADMIN) as tx:
        (spent,) = ledger.spending(tx, [Dimension.ROUTE])
    assert (spent.calls, spent.prompt_tokens) == (22, 2_200)  # those of the attempt that was not killed, and these




def set_budget(platform: Platform, amount: str, currency: str = "USD") -> None:
    """What the owner of the model may spend in a day."""
    with platform.transaction(ADMIN) as tx:
        budgets.declare(tx, BudgetWish(team="research", period=Period.DAY, amount=Decimal(amount), currency=currency))


def _spent(platform: Platform) -> BudgetStanding:
    with platform.transaction(ADMIN) as tx:
        (standing,) = budgets.standings(tx)
    return standing


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_budget_that_is_used_up_ends_an_evaluation_which_goes_on_when_it_is_raised(
    platform: Platform,
    api: httpx.Client,
    server: AnswerServer,
    outsider: Version,
    exam: Version,
    materialize: Materialize,
    llmops: Shell,
    at_once: int,
) -> None:
    priced(platform)  # 0.01 an answer, and 0.048 at most
    set_budget(platform, "0.1")
    made = requested(api, outsider, exam, atOnce=at_once)
    stopped = evaluated(api, materialize, made)
    assert (stopped["state"]["status"], stopped["result"]) == ("failed", None)
    assert "the budget of research of 0.1 USD a day has no 0.048 left for the next" in stopped["state"]["error"]
    assert "then resume: what was answered is kept" in stopped["state"]["error"]
    assert len(server.asked) == 6  # 0.06 are spent, and no further answer might be paid
    assert (_spent(platform).spent, _spent(platform).held) == (Decimal("0.06"), Decimal("0.06"))

    set_budget(platform, "0.15")
    llmops("evaluations", "resume", made["id"], "--no-wait")
    materialize(ASSET, row=f"{made['id']}:2")
    done = api.get(f"/evaluation/runs/{made['id']}").json()["data"]
    assert done["state"]["status"] == "succeeded", done["state"]["error"]
    assert Counter(server.asked) == {f"question {at}": 1 for at in range(ROWS - 1)}
    assert done["result"]["counts"]["scored"] == 11
    assert Decimal(done["result"]["generation"]["cost"]) == Decimal("0.11")
    assert (_spent(platform).spent, _spent(platform).held) == (Decimal("0.11"), Decimal("0.11"))
    refused = api.post(f"/evaluation/runs/{made['id']}/resume")
    assert refused.status_code == 409
    log = api.get("/audit/logs", params={"action": "evaluation.resume"}).json()["data"]
    assert [entry["resourceId"] for entry in log] == [made["id"]]


def test_a_budget_asks_for_a_price_in_its_currency_and_nothing_is_asked_without(
    platform: Platform,
    api: httpx.Client,
    server: AnswerServer,
    outsider: Version,
    exam: Version,
    materialize: Materialize,
) -> None:
    set_budget(platform, "5")
    unpriced = evaluated(api, materialize, requested(api, outsider, exam))
    assert "answers-1 of openai_compatible has no price, so no budget can be kept for it" in unpriced["state"]["error"]
    priced(platform)
    set_budget(platform, "5", "EUR")
    with platform.transaction(ADMIN) as tx:
        in_dollars = next(each for each in budgets.in_force(tx) if each.currency == "EUR")
    foreign = evaluated(api, materialize, requested(api, outsider, exam))
    assert "priced in USD, and the budget is in EUR" in foreign["state"]["error"]
    assert server.asked == []
    with platform.transaction(ADMIN) as tx:
        budgets.withdraw(tx, in_dollars.id)
    assert evaluated(api, materialize, requested(api, outsider, exam))["state"]["status"] == "succeeded"


def test_answers_that_nobody_counted_are_not_free(
    platform: Platform,
    api: httpx.Client,
    server: AnswerServer,
    outsider: Version,
    exam: Version,
    materialize: Materialize,
) -> None:
    priced(platform)
    set_budget(platform, "5")
    server.counts = False
    done = evaluated(api, materialize, requested(api, outsider, exam))
    assert done["result"]["generation"]["cost"] is None
    assert _spent(platform).spent > 0


def _served(platform: Platform, server: AnswerServer) -> Endpoint:
    """A model of our own whose server is this one."""
    model = approved(platform, Kind.MODEL, "ours", files={"model.safetensors": b"ours"})
    with platform.transaction(ADMIN) as tx:
        made = endpoints.deploy(tx, model_id=model.id, environment=Environment.DEV, backend="local", route="chat")
    _observed(platform, made, server)
    return made


def _observed(platform: Platform, endpoint: Endpoint, server: AnswerServer) -> None:
    url = f"http://127.0.0.1:{server.port}"
    seen = Observation(
        endpoint_id=endpoint.id, revision=endpoint.revision, status=EndpointStatus.HEALTHY, base_url=url, ready=1,
        total=1,
    )  # fmt: skip
    with platform.transaction(Actor("system:test")) as tx:
        endpoints.observe(tx, seen)


def test_a_model_is_asked_where_it_is_deployed_and_no_other_model_answers_for_it(
    platform: Platform,
    api: httpx.Client,
    server: AnswerServer,
    outsider: Version,
    exam: Version,
    materialize: Materialize,
) -> None:
    server.model = "chat"
    endpoint = _served(platform, server)
    body = {"modelId": str(outsider.id), "datasetId": str(exam.id), "endpointId": str(endpoint.id)}
    refused = api.post("/evaluation/runs", json=body)
    assert refused.status_code == 422
    assert refused.json()["data"]["errors"][0]["path"] == "endpointId"

    with platform.transaction(ADMIN) as tx:
        model = runs.evaluable(tx, endpoint.model_id)
    asset = ("evaluations", "ours", "exam")
    made = requested(api, model, exam, endpointId=str(endpoint.id))
    assert (made["through"]["route"], made["through"]["atOnce"]) == ("chat", 4)
    done = evaluated(api, materialize, made, asset)
    assert done["state"]["status"] == "succeeded", done["state"]["error"]
    assert done["result"]["metrics"]["exact_match"]["value"] == 1.0
    assert done["result"]["generation"]["by"] == "endpoint"
    assert done["result"]["protocol"]["asked"] == "as a chat of one turn, through the endpoint"
    assert server.keys == {""}  # no provider's key goes to a server of ours

    made = requested(api, model, exam, endpointId=str(endpoint.id))
    other = approve(platform, outsider.id)
    with platform.transaction(ADMIN) as tx:
        endpoints.deploy(tx, model_id=other.id, environment=Environment.DEV, backend="local", route="chat")
    changed = evaluated(api, materialize, made, asset)
    assert changed["state"]["status"] == "failed"
    assert "chat serves another model by now" in changed["state"]["error"]
