"""A judge's scores decide about a promotion only while the judge agrees with people, and not a moment longer."""

from typing import Any

import httpx
import pytest

from llmops_resources.catalog.evidence import EvidenceKind, of_version
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.evaluation import review_rubrics
from llmops_resources.evaluation.gate_conditions import JudgeThreshold
from llmops_resources.evaluation.gates import Gate, JudgeScores, Outcome, judge
from llmops_resources.evaluation.judge_licences import Licence, Terms
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  fixtures
from tests.api.conftest import llmops as llmops  # noqa: PLC0414
from tests.api.shell import Shell
from tests.api.test_gates_over_http import approval
from tests.assets.conftest import Materialize
from tests.assets.conftest import instance as instance  # noqa: PLC0414
from tests.assets.conftest import materialize as materialize  # noqa: PLC0414
from tests.evaluation.judge_server import JudgeServer, verdict
from tests.evaluation.reviewing import PAIRWISE, answered, benchmark, model_of
from tests.evaluation.test_judging import ASSET, RIGHT, RUBRIC, _reviewed, asked, outside
from tests.evaluation.test_judging import server as server  # noqa: PLC0414
from tests.evaluation.test_judging import settings as settings  # noqa: PLC0414
from tests.factories import ADMIN

UNITS = 40
ANSWERS: list[str | None] = [f"right {at}" if at % 2 else "wrong" for at in range(UNITS)]
TRUTH = {at: 5 if at % 2 else 1 for at in range(UNITS)}
UPSIDE_DOWN = {at: 6 - value for at, value in TRUTH.items()}


@pytest.fixture
def exam(platform: Platform) -> Version:
    return benchmark(platform)


def declared(platform: Platform, api: httpx.Client, **condition: Any) -> Any:
    """A gate by judges: on average better than 1.5 of 5, which answers that are right half of the time are."""
    with platform.transaction(ADMIN) as tx:
        rubric = review_rubrics.keep(tx, RUBRIC.model_copy(update={"name": "judges"})).digest
    asks = {"kind": "judge", "rubric": rubric, "criterion": "right", "atLeast": 1.5, **condition}
    body = {"name": "people's word", "model": "one", "benchmark": "exam", "conditions": [asks]}
    return api.post("/evaluation/gates", json=body)


def judged(api: httpx.Client, run: Evaluation, model: Any, materialize: Materialize) -> Any:
    made = asked(api, run, model)
    assert materialize(ASSET, row=f"{made['id']}:1").success
    return made


def said(api: httpx.Client, run: Any) -> Any:
    (found,) = api.get(f"/evaluation/runs/{run['id']}/verdicts").json()["data"]
    return found


def test_a_judge_decides_while_it_is_licensed_and_drift_takes_back_what_it_decided(
    platform: Platform, api: httpx.Client, server: JudgeServer, llmops: Shell, exam: Version, materialize: Materialize
) -> None:
    assert declared(platform, api).status_code == 200
    model = model_of(platform, "one")
    run = answered(platform, model, exam, ANSWERS)
    assert api.get(f"/evaluation/runs/{run.id}/verdicts").json()["data"] == []  # it has no judge to decide
    judge_id = outside(platform, server)
    alone = judged(api, run, judge_id, materialize)
    nobody = said(api, alone)["verdict"]
    assert (nobody["outcome"], nobody["look"], nobody["alpha"]) == ("unknown", 0, 0.0)
    assert "the judge is not licensed: 0 people judged" in nobody["reasons"][0]
    assert approval(api, model.id).status_code == 409

    _reviewed(platform, run, {"ann": TRUTH, "ben": {**TRUTH, 4: 2}})
    again = judged(api, run, judge_id, materialize)
    passed = said(api, again)
    assert (passed["verdict"]["outcome"], passed["stale"]) == ("passed", None), passed["verdict"]["reasons"]
    assert passed["verdict"]["look"] == 1  # what nobody was licensed for used up no look
    (leaned,) = passed["verdict"]["judgements"]
    assert leaned["licence"]["granted"]
    assert leaned["figure"] == pytest.approx(3.0)
    assert 1.5 < leaned["bound"] < 3
    assert api.get(f"/evaluation/runs/{again['id']}").json()["data"]["stale"] is None

    _reviewed(platform, run, {"ann": UPSIDE_DOWN, "ben": UPSIDE_DOWN})
    drifted = said(api, again)
    assert drifted["verdict"]["outcome"] == "passed"  # what was said is kept, and counts no more
    assert "the judge of right lost its licence: alpha is" in drifted["stale"]["reason"]
    assert api.get(f"/evaluation/runs/{again['id']}").json()["data"]["stale"]["reason"] == drifted["stale"]["reason"]
    assert said(api, alone)["stale"] is None  # it leaned on no licence
    with platform.transaction(Actor("system:dagster")) as tx:
        newest = of_version(tx, model.id, EvidenceKind.GATE)[0]
    assert (newest.passed, newest.summary["outcome"]) == (None, "stale")
    refused = approval(api, model.id)
    assert refused.status_code == 409
    assert "lost its licence" in refused.json()["message"]
    with pytest.raises(AssertionError, match="passed, but stale: the judge of right lost its licence"):
        llmops("gates", "verdicts", again["id"])

    server.rule = lambda parts, _turn: verdict(1 if parts["answer"] == parts["reference answer"] else 5)
    rerun = judged(api, run, judge_id, materialize)  # by a judge that sees it as people do now
    assert said(api, rerun)["verdict"]["outcome"] == "passed", said(api, rerun)["verdict"]["reasons"]
    assert said(api, again)["stale"] is not None
    assert approval(api, model.id).status_code == 200


def test_a_licence_is_of_the_benchmark_and_a_judge_that_drifts_by_itself_loses_it(
    platform: Platform, api: httpx.Client, server: JudgeServer, exam: Version, materialize: Materialize
) -> None:
    judge_id = outside(platform, server)
    assert declared(platform, api, judgeId=str(judge_id)).status_code == 200
    reviewed = answered(platform, model_of(platform, "two"), exam, ANSWERS)
    made = asked(api, reviewed, judge_id)
    assert materialize(("evaluations", "two", "exam"), row=f"{made['id']}:1").success
    _reviewed(platform, reviewed, {"ann": TRUTH, "ben": TRUTH})

    run = answered(platform, model_of(platform, "one"), exam, [*ANSWERS, None])
    decided = judged(api, run, judge_id, materialize)
    found = said(api, decided)["verdict"]
    assert found["outcome"] == "passed", found["reasons"]  # though people never judged this model
    assert "1 without a judgement count as the worst" in found["reasons"][0]

    server.rule = lambda _parts, _turn: verdict(3)
    made = asked(api, reviewed, judge_id)
    assert materialize(("evaluations", "two", "exam"), row=f"{made['id']}:1").success
    assert "lost its licence" in said(api, decided)["stale"]["reason"]


def test_a_gate_asks_judges_only_for_what_they_say(platform: Platform, api: httpx.Client, exam: Version) -> None:
    def problems(**condition: Any) -> dict[str, str]:
        answer = declared(platform, api, **condition)
        assert answer.status_code == 422, answer.text
        return {each["path"]: each["problem"] for each in answer.json()["data"]["errors"]}

    assert problems(atLeast=5) == {"conditions.0.atLeast": "5 is not between the ends of the scale"}
    assert problems(criterion="wrong") == {"conditions.0.criterion": "is not in the rubric"}
    assert list(problems(rubric="sha256:0")) == ["conditions.0.rubric"]
    with platform.transaction(ADMIN) as tx:
        pairs = review_rubrics.keep(tx, PAIRWISE).digest
    told = problems(rubric=pairs, criterion="better", atLeast=0.5)
    assert told == {"conditions.0.criterion": "compares two answers, and its mean depends on the other"}
    two = {"kind": "threshold", "metric": "f1", "atLeast": 0.5}
    asks = {"kind": "judge", "rubric": pairs, "criterion": "right", "atLeast": 2}
    body = {"name": "both", "model": "one", "benchmark": "exam", "conditions": [two, asks]}
    mixed = api.post("/evaluation/gates", json=body)
    assert mixed.status_code == 422
    assert "declare a gate for each" in mixed.text


def test_a_bound_from_above_reads_the_scale_backwards_and_silence_is_the_worst() -> None:
    asks = JudgeThreshold(rubric="sha256:0", criterion="right", at_most=4.0)
    gate = Gate(name="bar", model="one", benchmark="exam", conditions=(asks,))
    granted = Licence(granted=True, reasons=(), terms=Terms(), units=40, people=2, coverage=1.0)
    run = Evaluation.model_construct(result=None)
    low = JudgeScores(dict.fromkeys(range(200), 2.0), RIGHT.low, RIGHT.high, granted)
    found = judge(gate, run, judges={asks: low})
    assert found.outcome is Outcome.PASSED
    assert found.judgements[0].figure == pytest.approx(2.0)
    assert 2.0 < (found.judgements[0].bound or 0) < 4.0
    silent = JudgeScores(low.values | dict.fromkeys(range(160), None), 1, 5, granted)
    assert judge(gate, run, judges={asks: silent}).judgements[0].figure == pytest.approx(4.4)
    assert judge(gate, run, judges={asks: silent}).outcome is Outcome.FAILED
    revoked = JudgeScores(low.values, 1, 5, granted.model_copy(update={"granted": False, "reasons": ("no",)}))
    assert judge(gate, run, judges={asks: revoked}).outcome is Outcome.UNKNOWN
