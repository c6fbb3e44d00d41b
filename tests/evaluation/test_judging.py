"""Models that judge a finished evaluation: requested through HTTP, run as Dagster runs them, licensed by people."""

import multiprocessing
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from llmops_assets.claims import ACTOR
from llmops_assets.evaluation.judge import judge
from llmops_resources.catalog import providers, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.providers import Provider
from llmops_resources.cost import budgets, ledger, prices
from llmops_resources.cost.budgets import BudgetWish, Period
from llmops_resources.cost.ledger import Dimension
from llmops_resources.cost.prices import PriceWish
from llmops_resources.evaluation import judge_runs, review_rubrics, review_tasks, reviews, runs
from llmops_resources.evaluation.judge_suite import Judge, JudgeSuite
from llmops_resources.evaluation.review_opening import ReviewPlan
from llmops_resources.evaluation.review_rubrics import Criterion, CriterionKind, Rubric
from llmops_resources.evaluation.review_tasks import Submission
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings
from llmops_resources.work import WorkStatus
from tests.api.conftest import api as api  # noqa: PLC0414  fixtures
from tests.api.conftest import llmops as llmops  # noqa: PLC0414
from tests.api.shell import Shell
from tests.assets.conftest import Materialize
from tests.assets.conftest import instance as instance  # noqa: PLC0414
from tests.assets.conftest import materialize as materialize  # noqa: PLC0414
from tests.evaluation.judge_server import JudgeServer, Parts, running_judge, verdict
from tests.evaluation.judge_server import server as server  # noqa: PLC0414  a fixture
from tests.evaluation.judge_server import settings as settings  # noqa: PLC0414  a fixture
from tests.evaluation.reviewing import PAIRWISE, answered, benchmark, model_of, someone
from tests.factories import ADMIN, CARD, approve, approved
from tests.tiny_model import write_tiny_model

RIGHT = Criterion(name="right", question="Is it right?", kind=CriterionKind.SCALE)
RUBRIC = Rubric(name="rightness", criteria=(RIGHT,))
ASSET = ("evaluations", "one", "exam")


@pytest.fixture
def run(platform: Platform) -> Evaluation:
    """Ten answers, of which seven are right."""
    answers: list[str | None] = [f"right {at}" if at < 7 else "wrong" for at in range(10)]
    return answered(platform, model_of(platform, "one"), benchmark(platform), answers)


def outside(platform: Platform, server: JudgeServer, name: str = "judge") -> UUID:
    """An approved model at the provider."""
    config = providers.configure(
        provider=Provider.OPENAI_COMPATIBLE,
        model_name="judge-1",
        endpoint=f"http://127.0.0.1:{server.port}/v1",
        allowed_hosts=platform.settings.outbound_allowed_hosts,
    )
    with platform.transaction(ADMIN) as tx:
        made = providers.register(
            tx, platform.settings, name=name, version="1", owner_team="research", metadata=CARD, config=config,
            api_key=None,
        )  # fmt: skip
    return approve(platform, made.id).id


def _price(prompt: str, completion: str) -> PriceWish:
    """Of the judge, in US dollars for a million tokens."""
    return PriceWish(
        provider="openai_compatible", model="judge-1", prompt=Decimal(prompt), completion=Decimal(completion)
    )


def asked(api: httpx.Client, run: Evaluation, *judges: UUID, **more: Any) -> Any:
    """A judging that was accepted."""
    body = {"judges": [{"modelId": str(each)} for each in judges], "criteria": [RIGHT.json_dict()], **more}
    answer = api.post(f"/evaluation/runs/{run.id}/llm-judge", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def got(api: httpx.Client, run: Any) -> Any:
    return api.get(f"/evaluation/runs/{run['id']}").json()["data"]


def test_a_judge_at_a_provider_judges_every_answer_and_the_run_says_what_it_cost(
    platform: Platform, api: httpx.Client, server: JudgeServer, run: Evaluation, materialize: Materialize
) -> None:
    with platform.transaction(ADMIN) as tx:
        prices.declare(tx, _price("2.5", "10"))
    made = asked(api, run, outside(platform, server))
    assert (made["runType"], made["judgedId"], made["state"]["status"]) == ("llm_judge", str(run.id), "queued")
    assert materialize(ASSET, row=f"{made['id']}:1").success
    done = got(api, made)
    assert done["state"]["status"] == "succeeded"
    score = done["result"]["metrics"]["right"]
    assert (score["value"], score["n"]) == (pytest.approx(3.8), 10)
    assert score["low"] < 3.8 < score["high"]
    (report,) = done["result"]["judged"]["judges"]
    assert (report["scored"], report["unreadable"], report["silent"]) == (10, 0, 0)
    assert (report["inputTokens"], report["outputTokens"]) == (1_000, 100)
    assert (Decimal(report["cost"]), report["currency"]) == (Decimal("0.0035"), "USD")
    with platform.transaction(ADMIN) as tx:
        (spent,) = ledger.spending(tx, [Dimension.TEAM, Dimension.MODEL])
    assert (spent.team, spent.model, spent.calls, spent.amount) == ("research", "judge 1", 10, Decimal("0.0035"))
    assert [sample["scores"]["right"] for sample in done["result"]["samples"]] == [5.0] * 7 + [1.0] * 3
    assert Counter(parts["question"] for parts in server.asked).most_common(1)[0][1] == 1
    assert done["result"]["protocol"]["judged"] == str(run.id)


def test_a_budget_that_is_used_up_ends_a_judging_which_goes_on_when_it_is_raised(
    platform: Platform, api: httpx.Client, server: JudgeServer, run: Evaluation, materialize: Materialize
) -> None:
    made = asked(api, run, outside(platform, server))
    with platform.transaction(ADMIN) as tx:
        prices.declare(tx, _price("0", "1000"))  # 0.01 a judgement, and 0.512 at most
        budgets.declare(tx, BudgetWish(team="research", period=Period.DAY, amount=Decimal("0.54")))
    assert not materialize(ASSET, row=f"{made['id']}:1").success
    stopped = got(api, made)
    assert (stopped["state"]["status"], stopped["result"]) == ("failed", None)
    assert "the budget of research of 0.54 USD a day has no 0.512 left" in stopped["state"]["error"]
    assert len(server.asked) == 3
    with platform.transaction(ADMIN) as tx:
        budgets.declare(tx, BudgetWish(team="research", period=Period.DAY, amount=Decimal(9)))
    again = api.post(f"/evaluation/runs/{made['id']}/resume").json()["data"]
    assert (again["state"]["status"], again["state"]["attempt"]) == ("queued", 2)
    assert materialize(ASSET, row=f"{made['id']}:2").success
    done = got(api, made)
    assert Counter(parts["question"] for parts in server.asked).most_common(1)[0][1] == 1
    assert done["result"]["metrics"]["right"]["value"] == pytest.approx(3.8)
    assert Decimal(done["result"]["judged"]["judges"][0]["cost"]) == Decimal("0.1")
    with platform.transaction(ADMIN) as tx:
        (standing,) = budgets.standings(tx)
    assert (standing.spent, standing.held) == (Decimal("0.1"), Decimal("0.1"))
    assert api.post(f"/evaluation/runs/{made['id']}/resume").status_code == 409


def test_an_answer_that_cannot_be_read_is_asked_for_again_and_garbage_never_counts(
    platform: Platform, api: httpx.Client, server: JudgeServer, run: Evaluation, materialize: Materialize
) -> None:
    def rule(parts: Parts, turn: int) -> str:
        if parts["question"] == "question 9":
            return "I would say 5 out of 5!"
        return verdict(3) if turn else "Let me think: 5."

    server.rule = rule
    made = asked(api, run, outside(platform, server))
    materialize(ASSET, row=f"{made['id']}:1")
    result = got(api, made)["result"]
    (report,) = result["judged"]["judges"]
    assert (report["scored"], report["unreadable"], report["repaired"]) == (9, 1, 9)
    assert (result["metrics"]["right"]["value"], result["metrics"]["right"]["n"]) == (3.0, 9)
    assert result["counts"] == {"total": 10, "scored": 9, "unscored": 1}
    assert "no JSON object" in result["judged"]["units"][9]["judgements"][0]["problem"]


def test_a_judge_that_is_away_is_counted_and_alone_it_fails_the_run_with_the_reason(
    platform: Platform, api: httpx.Client, server: JudgeServer, run: Evaluation, materialize: Materialize
) -> None:
    server.status = 401
    made = asked(api, run, outside(platform, server))
    assert not materialize(ASSET, row=f"{made['id']}:1").success
    done = got(api, made)
    assert (done["state"]["status"], done["result"]) == ("failed", None)
    assert "no judge gave a judgement: the provider refuses the platform's key" in done["state"]["error"]


def test_of_two_judges_the_one_that_answers_decides_and_the_silent_one_is_named(
    platform: Platform, api: httpx.Client, server: JudgeServer, run: Evaluation, materialize: Materialize
) -> None:
    with running_judge() as away:
        hosts = (*platform.settings.outbound_allowed_hosts, f"127.0.0.1:{away.port}")
        object.__setattr__(platform, "settings", platform.settings.model_copy(update={"outbound_allowed_hosts": hosts}))
        away.status = 404
        made = asked(api, run, outside(platform, server), outside(platform, away, "gone"))
        materialize(ASSET, row=f"{made['id']}:1")
    result = got(api, made)["result"]
    answering, silent = result["judged"]["judges"]
    assert (answering["scored"], silent["scored"], silent["silent"]) == (10, 0, 10)
    assert result["metrics"]["right"]["value"] == pytest.approx(3.8)
    assert result["judged"]["methods"] == {"right": "median: 1 of at least 3 judges answered"}
    assert result["judged"]["agreement"]["right"][0]["estimate"] is None


def test_of_three_judges_two_outvote_the_third_and_their_agreement_and_reliability_are_told(
    platform: Platform, api: httpx.Client, server: JudgeServer, materialize: Materialize
) -> None:
    answers: list[str | None] = [f"right {at}" if at < 28 else "wrong" for at in range(40)]
    run = answered(platform, model_of(platform, "one"), benchmark(platform), answers)
    with running_judge() as contrary:
        hosts = (*platform.settings.outbound_allowed_hosts, f"127.0.0.1:{contrary.port}")
        object.__setattr__(platform, "settings", platform.settings.model_copy(update={"outbound_allowed_hosts": hosts}))
        contrary.rule = lambda parts, _turn: verdict(1 if parts["answer"] == parts["reference answer"] else 5)
        judges = [outside(platform, server, "one_judge"), outside(platform, server, "two_judge")]
        made = asked(api, run, *judges, outside(platform, contrary, "contrary"))
        assert materialize(ASSET, row=f"{made['id']}:1").success
    result = got(api, made)["result"]
    assert [sample["scores"]["right"] for sample in result["samples"]] == [5.0] * 28 + [1.0] * 12
    good, also, bad = (report["reliability"]["right"] for report in result["judged"]["judges"])
    assert min(good, also) > bad
    assert result["judged"]["agreement"]["right"][0]["estimate"]["value"] < 0.5


def test_a_judge_that_always_likes_the_first_answer_says_nothing_but_ties(
    platform: Platform, api: httpx.Client, server: JudgeServer, run: Evaluation, materialize: Materialize
) -> None:
    server.rule = lambda _parts, _turn: '{"values": {"better": "first"}}'
    with platform.transaction(ADMIN) as tx:
        rubric = review_rubrics.keep(tx, PAIRWISE)
        exam = versions.get(tx, run.dataset_id)
    other = answered(platform, model_of(platform, "two"), exam, [f"other {at}" for at in range(10)])
    body = {"criteria": None, "rubric": rubric.digest, "otherEvaluationId": str(other.id)}
    made = asked(api, run, outside(platform, server), **body)
    materialize(ASSET, row=f"{made['id']}:1")
    result = got(api, made)["result"]
    assert len(server.asked) == 20
    assert result["metrics"]["better"]["value"] == 0.5
    assert result["judged"]["judges"][0]["bias"]["better"] == {"length": None, "firstPlace": 1.0, "steady": 0.0}


@pytest.mark.slow
def test_a_model_with_files_here_judges_in_a_program_and_its_babble_is_no_judgement(
    platform: Platform, api: httpx.Client, run: Evaluation, materialize: Materialize, tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "tiny", context_length=2_048)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    tiny = approved(platform, Kind.MODEL, "babbler", files=files)
    made = asked(api, run, judges=[{"modelId": str(tiny.id), "maxTokens": 24}])
    assert not materialize(ASSET, row=f"{made['id']}:1").success
    assert "no judge gave a judgement" in got(api, made)["state"]["error"]


def test_everything_that_stands_in_the_way_of_a_judging_is_named(
    platform: Platform, api: httpx.Client, server: JudgeServer, run: Evaluation
) -> None:
    own = approve(platform, run.model_id).id
    draft = model_of(platform, "draft").id
    body = {"judges": [{"modelId": str(own)}, {"modelId": str(draft)}], "criteria": [RIGHT.json_dict()]}
    refused = api.post(f"/evaluation/runs/{run.id}/llm-judge", json=body)
    assert refused.status_code == 422
    said = {problem["path"]: problem["problem"] for problem in refused.json()["data"]["errors"]}
    assert said["judges.0.modelId"] == "one would judge its own answers"
    assert "judges.1.modelId" in said
    judge_id = outside(platform, server)
    vague = {"judges": [{"modelId": str(judge_id)}]}
    assert api.post(f"/evaluation/runs/{run.id}/llm-judge", json=vague).status_code == 422
    with platform.transaction(ADMIN) as tx:
        rubric = review_rubrics.keep(tx, PAIRWISE)
        waiting = runs.request(tx, model_id=run.model_id, dataset_id=run.dataset_id)
    alone = {**vague, "rubric": rubric.digest}
    assert api.post(f"/evaluation/runs/{run.id}/llm-judge", json=alone).status_code == 422
    early = api.post(f"/evaluation/runs/{waiting.id}/llm-judge", json={**vague, "criteria": [RIGHT.json_dict()]})
    assert early.status_code == 409
    assert server.asked == []


def _judge_until_killed(settings: Settings, run_id: UUID, work: str) -> None:
    with open_platform(settings, application="test") as platform:
        with platform.transaction(ACTOR) as tx:
            evaluation = runs.get(tx, run_id)
        judge(platform, evaluation, Path(work), lambda _fraction, _message: None)


def test_an_attempt_after_a_killed_one_asks_only_for_what_is_missing_and_finds_the_same(
    platform: Platform, settings: Settings, server: JudgeServer, run: Evaluation, tmp_path: Path
) -> None:
    suite = JudgeSuite(rubric=RUBRIC, judges=(Judge(model_id=outside(platform, server)),))
    with platform.transaction(ADMIN) as tx:
        made = judge_runs.request(tx, run.id, suite)
    (tmp_path / "whole").mkdir()
    whole = judge(platform, made, tmp_path / "whole", lambda _fraction, _message: None)
    server.asked.clear()
    server.delay = 0.4
    (tmp_path / "killed").mkdir()
    child = multiprocessing.get_context("spawn").Process(
        target=_judge_until_killed, args=(settings, made.id, str(tmp_path / "killed"))
    )
    child.start()
    while len(server.asked) < 6:
        time.sleep(0.02)
    child.kill()
    child.join()
    server.delay = 0.0
    kept = (tmp_path / "killed" / "partial.jsonl").read_text().count('"name"')
    assert kept >= 1
    before = len(server.asked)
    again = judge(platform, made, tmp_path / "killed", lambda _fraction, _message: None)
    assert len(server.asked) - before == 10 - kept
    assert (again.metrics, again.samples, again.judged) == (whole.metrics, whole.samples, whole.judged)


def _reviewed(platform: Platform, run: Evaluation, says: dict[str, dict[int, int]]) -> None:
    """A closed review in which each person gave these values by sample."""
    with platform.transaction(ADMIN) as tx:
        rubric = review_rubrics.keep(tx, Rubric(name="judges", criteria=(RIGHT,)))
        plan = ReviewPlan(rubric=rubric.digest, reviewers=tuple(says), overlap=len(says))
        review = reviews.open_review(tx, run.id, plan)
    for name, values in says.items():
        for place in range(1, len(values) + 1):
            with platform.transaction(someone(name)) as tx:
                task = review_tasks.task(tx, review.id, place)
                value = values[int(task.input.split()[1])]
                given = Submission(values={"right": value}, reason="", shown=task.digest, revision=0)
                review_tasks.score(tx, review.id, task.number, given)
    with platform.transaction(ADMIN) as tx:
        reviews.close(tx, review.id, review_tasks.summary(tx, review.id), reason="enough")


def test_a_judge_is_licensed_while_it_agrees_with_people_and_no_longer_when_they_say_otherwise(
    platform: Platform, api: httpx.Client, server: JudgeServer, llmops: Shell, materialize: Materialize
) -> None:
    answers: list[str | None] = [f"right {at}" if at % 2 else "wrong" for at in range(40)]
    run = answered(platform, model_of(platform, "one"), benchmark(platform), answers)
    made = asked(api, run, outside(platform, server))
    assert materialize(ASSET, row=f"{made['id']}:1").success
    (nobody,) = api.get(f"/evaluation/runs/{made['id']}/licences").json()["data"]
    assert not nobody["licence"]["granted"]
    assert "0 people judged" in nobody["licence"]["reasons"][0]

    right = {at: 5 if at % 2 else 1 for at in range(40)}
    _reviewed(platform, run, {"ann": right, "ben": {**right, 4: 2}})
    (with_people,) = api.get(f"/evaluation/runs/{made['id']}/licences").json()["data"]
    assert with_people["licence"]["granted"], with_people["licence"]
    assert with_people["licence"]["humans"] > 0.9
    assert "licensed" in llmops("judges", "licences", made["id"])

    upside_down = {at: 6 - value for at, value in right.items()}
    _reviewed(platform, run, {"ann": upside_down, "ben": upside_down})
    (drifted,) = api.get(f"/evaluation/runs/{made['id']}/licences").json()["data"]
    assert not drifted["licence"]["granted"]
    assert len(drifted["reviews"]) == 2


def test_a_judging_is_asked_for_and_shown_by_command(
    platform: Platform, llmops: Shell, server: JudgeServer, run: Evaluation, materialize: Materialize, tmp_path: Path
) -> None:
    outside(platform, server)
    criteria = tmp_path / "criteria.toml"
    criteria.write_text('[[criteria]]\nname = "right"\nquestion = "Is it right?"\nkind = "scale"\n')
    words = ("judges", "ask", str(run.id), "--judge", "judge", "--criteria", str(criteria), "--no-wait")
    made = llmops.json(*words)
    assert materialize(ASSET, row=f"{made['id']}:1").success
    shown = llmops("judges", "show", made["id"])
    assert "judge 1" in shown
    assert "3.800" in shown
    with platform.transaction(ADMIN) as tx:
        assert runs.get(tx, made["id"]).state.status is WorkStatus.SUCCEEDED
