"""What people and servers with bad intentions try on evaluations (threats 10, 16, 25, 27 and 29), where no other test
has it: commands to judges, formulas in exports, copied reasons and self-review are tested beside what they attack."""


import httpx
import pytest

from llmops_resources.catalog import evidence
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.evaluation import review_rubrics, review_tasks, reviews
from llmops_resources.evaluation.gate_verdicts import declared as gates_declared
from llmops_resources.evaluation.review_opening import ReviewPlan
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.evaluation.review_tasks import Submission
from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  fixtures
from tests.api.test_gates_over_http import AT_LEAST_HALF, approval, declare
from tests.assets.conftest import Materialize
from tests.assets.conftest import instance as instance  # noqa: PLC0414
from tests.assets.conftest import materialize as materialize  # noqa: PLC0414
from tests.evaluation.judge_server import JudgeServer
from tests.evaluation.reviewing import answered, model_of, someone
from tests.evaluation.test_gates_by_judges import ANSWERS, TRUTH, UNITS, _reviewed, judged, said
from tests.evaluation.test_gates_by_judges import declared as declared_by_judges
from tests.evaluation.test_gates_by_judges import exam as exam  # noqa: PLC0414
from tests.evaluation.test_judging import ASSET, RIGHT, asked, outside
from tests.evaluation.test_judging import server as server  # noqa: PLC0414
from tests.evaluation.test_judging import settings as settings  # noqa: PLC0414
from tests.factories import ADMIN, approved, uploaded


def test_a_verdict_about_other_bytes_or_another_gate_is_no_evidence(platform: Platform, api: httpx.Client) -> None:
    """10: the approval of a changed artifact, and of a verdict that is played back."""
    approved(platform, Kind.DATASET, "facts")
    gate = declare(api, AT_LEAST_HALF)
    model = uploaded(platform, Kind.MODEL, "tiny")
    for digest, source in (("sha256:other", gate["id"]), (model.digest, "another gate")):
        with platform.transaction(Actor("system:dagster")) as tx:
            evidence.attach(
                tx, model.id, EvidenceKind.GATE, digest=str(digest), source_id=source, passed=True, summary={}
            )
        refused = approval(api, model.id)
        assert refused.status_code == 409
        assert "has not judged it" in refused.json()["message"]


def test_a_judge_of_garbage_and_one_that_is_away_let_no_model_pass(
    platform: Platform, api: httpx.Client, server: JudgeServer, exam: Version, materialize: Materialize
) -> None:
    """27: also not a judge that was licensed before."""
    assert declared_by_judges(platform, api).status_code == 200
    model = model_of(platform, "one")
    run = answered(platform, model, exam, ANSWERS)
    judge_id = outside(platform, server)
    judged(api, run, judge_id, materialize)
    _reviewed(platform, run, {"ann": TRUTH, "ben": TRUTH})

    server.rule = lambda _parts, _turn: "Score 10! Every answer is perfect."
    babbling = asked(api, run, judge_id)
    assert not materialize(ASSET, row=f"{babbling['id']}:1").success
    server.status = 404
    away = asked(api, run, judge_id)
    assert not materialize(ASSET, row=f"{away['id']}:1").success
    for each in (babbling, away):
        assert api.get(f"/evaluation/runs/{each['id']}/verdicts").json()["data"] == []
    assert approval(api, model.id).status_code == 409


def test_a_judge_that_is_mostly_silent_is_not_licensed_by_the_few_it_answers(
    platform: Platform, api: httpx.Client, server: JudgeServer, exam: Version, materialize: Materialize
) -> None:
    """27: silence is no pass either."""
    assert declared_by_judges(platform, api).status_code == 200
    run = answered(platform, model_of(platform, "one"), exam, ANSWERS)
    _reviewed(platform, run, {"ann": TRUTH, "ben": TRUTH})
    honest = server.rule
    server.rule = lambda parts, turn: honest(parts, turn) if int(parts["question"].split()[1]) < 35 else "?"
    found = said(api, judged(api, run, outside(platform, server), materialize))["verdict"]
    assert found["outcome"] == "unknown"
    assert "the judge judged 87.5% of what people judged; it takes 95.0%" in found["reasons"][0]


def test_a_bot_among_the_reviewers_licenses_no_judge_once_it_is_excluded(
    platform: Platform, api: httpx.Client, server: JudgeServer, exam: Version, materialize: Materialize
) -> None:
    """29: what an excluded person said counts for nothing, here too."""
    run = answered(platform, model_of(platform, "one"), exam, ANSWERS)
    made = judged(api, run, outside(platform, server), materialize)
    with platform.transaction(ADMIN) as tx:
        rubric = review_rubrics.keep(tx, Rubric(name="judges", criteria=(RIGHT,)))
        plan = ReviewPlan(rubric=rubric.digest, reviewers=("ann", "bot"), overlap=2)
        review = reviews.open_review(tx, run.id, plan)
    for name in ("ann", "bot"):
        for place in range(1, UNITS + 1):
            with platform.transaction(someone(name)) as tx:
                task = review_tasks.task(tx, review.id, place)
                right = TRUTH[int(task.input.split()[1])]
                given = Submission(values={"right": right}, reason="", shown=task.digest, revision=0)
                review_tasks.score(tx, review.id, task.number, given)
    with platform.transaction(ADMIN) as tx:
        reviews.exclude(tx, review.id, "bot", "a bot")
        reviews.close(tx, review.id, review_tasks.summary(tx, review.id), reason="nobody else is there")
    (found,) = api.get(f"/evaluation/runs/{made['id']}/licences").json()["data"]
    assert not found["licence"]["granted"]
    assert "1 people judged, and without two" in found["licence"]["reasons"][0]


@pytest.mark.parametrize("role", ["ml_engineer", "researcher"])
def test_whoever_makes_models_cannot_lower_the_bar_for_them(platform: Platform, api: httpx.Client, role: str) -> None:
    """10: the requester does not decide what the request must show."""
    approved(platform, Kind.DATASET, "facts")
    declare(api, AT_LEAST_HALF)
    headers = {"X-User-Id": "max", "X-User-Roles": role}
    body = {"name": "bar", "model": "tiny", "benchmark": "facts", "conditions": []}
    assert api.post("/evaluation/gates", json=body, headers=headers).status_code == 403
    with platform.transaction(ADMIN) as tx:
        (gate,) = gates_declared(tx, model="tiny")
    assert gate.in_force
