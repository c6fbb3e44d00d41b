"""Models and people are set to judge an evaluation in the console; gates, contamination and judges are shown."""

import re
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from playwright.sync_api import expect

from llmops_assets.claims import ACTOR
from llmops_assets.evaluation.judge import judge
from llmops_resources.catalog.versions import Version
from llmops_resources.evaluation import gate_verdicts, judge_runs, review_rubrics, runs
from llmops_resources.evaluation.contamination import Contamination, How, Overlap, Source, Training
from llmops_resources.evaluation.gate_conditions import JudgeThreshold, Threshold
from llmops_resources.evaluation.gates import Gate
from llmops_resources.evaluation.judge_suite import Judge, JudgeSuite
from llmops_resources.evaluation.runs import Counts, Evaluation, Result, Sample
from llmops_resources.evaluation.scores import Score
from llmops_resources.evaluation.suite import MetricName
from llmops_resources.platform import Platform
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.api.visiting import visitor as visitor  # noqa: PLC0414  a fixture
from tests.evaluation.judge_server import JudgeServer, verdict
from tests.evaluation.judge_server import server as server  # noqa: PLC0414  a fixture
from tests.evaluation.judge_server import settings as settings  # noqa: PLC0414  a fixture
from tests.evaluation.pages import is_sound
from tests.evaluation.reviewing import benchmark, model_of
from tests.evaluation.test_judging import RUBRIC, _reviewed, outside
from tests.factories import ADMIN
from tests.journeys.accessibility import missed_by_tab
from tests.journeys.browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def run(platform: Platform) -> Evaluation:
    """Forty answers, thirty of them right, under a gate; two samples were seen in training."""
    exam, model = benchmark(platform), model_of(platform, "one")
    gate = Gate(
        name="bar", model="one", benchmark="exam",
        conditions=(
            Threshold(metric=MetricName.EXACT_MATCH, at_least=0.2), Threshold(metric=MetricName.F1, at_least=0.9),
        ),
    )  # fmt: skip
    with platform.transaction(ADMIN) as tx:
        gate_verdicts.declare(tx, gate)
    with platform.transaction(ADMIN) as tx:
        waiting = runs.request(tx, model_id=model.id, dataset_id=exam.id)
    with platform.transaction(ADMIN) as tx:
        runs.claim(tx, waiting.id, attempt=1, run_id="run")
        return gate_verdicts.finish(tx, waiting.id, _result(exam), run_id="run")


def _result(exam: Version) -> Result:
    samples = tuple(
        Sample(
            index=at, input=f"question {at}", expected=f"right {at}", actual=f"right {at}" if at < 30 else "wrong",
            scores={"exact_match": float(at < 30), "f1": float(at < 30)},
        )
        for at in range(40)
    )  # fmt: skip
    score = Score(value=0.75, n=40, low=0.6, high=0.88)
    seen = Contamination(
        measured=True, complete=False, method="n-grams", samples=40,
        overlaps=tuple(Overlap(index=at, how=How.NGRAM, dataset="corpus", version="1", row=7) for at in (1, 35)),
        clean={"exact_match": Score(value=0.763, n=38, low=0.6, high=0.9)},
        training=Training(sources=(Source(id=exam.id, name="corpus", version="1", rows_total=100, rows_read=100),),
                          unknown=("old base 1",)),
    )  # fmt: skip
    return Result(
        metrics={"exact_match": score, "f1": score}, protocol={}, samples=samples,
        counts=Counts(total=40, scored=40, unscored=0), contamination=seen,
    )  # fmt: skip


def test_gates_and_contamination_stand_on_the_page_of_a_run(run: Evaluation, visitor: Console) -> None:
    page = visitor.page
    visitor.open(f"/evaluation/runs/{run.id}")
    gates = page.get_by_role("region", name="Gates")
    expect(gates).to_contain_text("not passed")
    expect(gates).to_contain_text("exact_match at least 0.2: shown")
    expect(gates).to_contain_text("f1 at least 0.9: not shown")
    seen = page.get_by_role("region", name="Seen in training?")
    expect(seen).to_contain_text("2 of 40 samples overlap")
    expect(seen.get_by_role("row", name="Exact match")).to_contain_text("0.763")
    expect(seen).to_contain_text("old base 1: its data is not in the catalog")
    page.get_by_role("checkbox", name="Only those found in training data").check()
    expect(page.get_by_text("Found in training data: corpus 1, row 7")).to_have_count(2)
    is_sound(visitor, "run")
    visitor.open(f"/evaluation/runs/{run.id}")
    expect(gates).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert missed_by_tab(page) == []


def test_a_model_is_set_to_judge_and_its_report_is_read(
    platform: Platform, server: JudgeServer, run: Evaluation, visitor: Console, tmp_path: Path
) -> None:
    outside(platform, server, "arbiter")
    server.rule = lambda parts, _turn: verdict(5 if parts["answer"] == parts["reference answer"] else 2)
    page = visitor.page
    visitor.open(f"/evaluation/runs/{run.id}")
    visitor.link("Have models judge").press("Enter")
    expect(visitor.heading("Have models judge")).to_be_visible()
    visitor.field("Add a judge").select_option("arbiter 1")
    visitor.field("Name of the rubric").fill("rightness")
    visitor.field("Short name").fill("right")
    page.get_by_label("Question", exact=True).fill("Is it right?")
    visitor.field("What the lowest means").fill("wrong")
    is_sound(visitor, "judge-create")
    visitor.button("Start judging").press("Enter")
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    _judged(platform, UUID(page.url.rsplit("/", 1)[1]), tmp_path)
    visitor.button("Refresh").press("Enter")
    judges = page.get_by_role("region", name="Judges")
    expect(judges.get_by_role("row", name="arbiter 1")).to_contain_text("40")
    expect(judges).to_contain_text("may not decide")
    expect(judges).to_contain_text("0 people judged")
    expect(page.get_by_text("arbiter 1: as it is").first).to_be_visible()
    is_sound(visitor, "judged")
    page.get_by_role("link", name="Open that evaluation").press("Enter")
    listed = page.get_by_role("region", name="Judged by people and models").get_by_role("listitem")
    expect(listed).to_contain_text("Models judge")
    visitor.open("/evaluation/runs?runType=llm_judge")
    expect(page.get_by_role("row")).to_have_count(2)
    visitor.field("Requested before").fill("2020-01-01")
    expect(page.get_by_text("No evaluation matches these filters")).to_be_visible()
    assert "endDate=2020-01-01" in page.url


def test_what_leaned_on_a_judge_that_lost_its_licence_is_marked_wherever_it_stands(
    platform: Platform, server: JudgeServer, run: Evaluation, visitor: Console, tmp_path: Path
) -> None:
    right = {at: 5 if at < 30 else 1 for at in range(40)}
    _reviewed(platform, run, {"ann": right, "ben": right})
    with platform.transaction(ADMIN) as tx:
        rubric = review_rubrics.keep(tx, RUBRIC.model_copy(update={"name": "judges"}))
        asks = JudgeThreshold(rubric=rubric.digest, criterion="right", at_least=2.0)
        gate_verdicts.declare(tx, Gate(name="people's word", model="one", benchmark="exam", conditions=(asks,)))
    with platform.transaction(ADMIN) as tx:
        suite = JudgeSuite(rubric=rubric.rubric, judges=(Judge(model_id=outside(platform, server, "arbiter")),))
        judging = judge_runs.request(tx, run.id, suite)
    _judged(platform, judging.id, tmp_path)
    page = visitor.page
    visitor.open(f"/evaluation/runs/{judging.id}")
    gates = page.get_by_role("region", name="Gates")
    expect(gates.get_by_role("heading", name="people's word passed")).to_be_visible()
    expect(page.get_by_text("stale", exact=True)).to_have_count(0)
    turned = {at: 6 - value for at, value in right.items()}
    _reviewed(platform, run, {"ann": turned, "ben": turned})
    visitor.open(f"/evaluation/runs/{judging.id}")
    expect(gates).to_contain_text("This verdict does not count any more: the judge of right lost its licence")
    note = page.get_by_role("note")
    expect(note).to_contain_text("A gate leaned on these judges, and they lost their licence")
    is_sound(visitor, "stale")
    visitor.open("/evaluation/runs?runType=llm_judge")
    expect(page.get_by_role("row").nth(1)).to_contain_text("stale")
    visitor.open(f"/evaluation/runs/{run.id}")
    judged = page.get_by_role("region", name="Judged by people and models")
    expect(judged.get_by_role("listitem").filter(has_text="stale")).to_have_count(1)


def test_what_people_said_of_a_run_stands_on_its_page_beside_its_figures(
    platform: Platform, run: Evaluation, visitor: Console
) -> None:
    right = {at: 5 if at < 30 else 1 for at in range(40)}
    _reviewed(platform, run, {"ann": right, "ben": {**right, 0: 4}})
    page = visitor.page
    visitor.open(f"/evaluation/runs/{run.id}")
    expect(page.get_by_role("region", name="Metrics", exact=True).first).to_contain_text("Exact match")
    expect(page.get_by_role("region", name="Samples")).to_contain_text("question 0")
    judged = page.get_by_role("region", name="Judged by people and models").get_by_role("listitem")
    expect(judged).to_contain_text("People")
    judged.get_by_role("link").press("Enter")
    page.wait_for_url(lambda url: str(run.id) not in url)
    expect(page.get_by_role("region", name="Result and agreement")).to_contain_text("Krippendorff’s alpha")
    is_sound(visitor, "people-run")
    visitor.link("Open the review").press("Enter")
    expect(visitor.heading("judges")).to_be_visible()


def test_a_review_is_opened_with_a_new_rubric_and_refusals_stand_beside_their_fields(
    api: httpx.Client, run: Evaluation, visitor: Console
) -> None:
    page = visitor.page
    visitor.open(f"/evaluation/runs/{run.id}/review")
    visitor.field("Name of the rubric").fill("care")
    visitor.field("Short name").fill("polite")
    page.get_by_label("Question", exact=True).fill("Is it polite?")
    visitor.field("Answered by").select_option("pass or fail")
    visitor.button("Add a criterion").press("Enter")
    second = page.get_by_role("group", name="Criterion 2")
    second.get_by_label("Short name").fill("helpful")
    second.get_by_label("Question", exact=True).fill("Does it help?")
    visitor.field("Reviewers").fill("ann, ben")
    is_sound(visitor, "review-open")
    page.get_by_role("checkbox", name="Show the expected answer").uncheck()
    visitor.button("Open the review").press("Enter")
    expect(visitor.heading(None)).to_contain_text("care")
    (review,) = api.get("/evaluation/reviews", params={"evaluationId": str(run.id)}).json()["data"]
    assert [it["kind"] for it in review["rubric"]["criteria"]] == ["pass_fail", "scale"]
    assert [it["reviewer"] for it in review["reviewers"]] == ["ann", "ben"]
    is_sound(visitor, "review-opened")
    visitor.open(f"/evaluation/runs/{run.id}/review")
    visitor.field("Rubric").select_option(index=1)
    visitor.button("Open the review").press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    assert len(visitor.refusals) == 1


def _judged(platform: Platform, judging: UUID, work: Path) -> None:
    """What the run in Dagster does."""
    with platform.transaction(ACTOR) as tx:
        task = runs.claim(tx, judging, attempt=1, run_id="run")
    folder = work / str(uuid4())
    folder.mkdir()
    result = judge(platform, task.evaluation, folder, lambda _fraction, _message: None)
    with platform.transaction(ACTOR) as tx:
        judge_runs.finish(tx, judging, result, run_id="run")
