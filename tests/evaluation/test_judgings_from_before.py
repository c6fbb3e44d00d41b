"""Judgings that carried prices of their own are read as those of today, and keep what they were said to cost."""

from decimal import Decimal
from importlib import import_module
from typing import Any

from sqlalchemy import text

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.evaluation import judge_runs, runs
from llmops_resources.evaluation.judge_answers import Verdict
from llmops_resources.evaluation.judge_suite import Judge, JudgeSuite
from llmops_resources.evaluation.judging import Heard, orders, result
from llmops_resources.platform import Platform
from tests.evaluation.reviewing import answered, benchmark, model_of
from tests.evaluation.test_judging import RUBRIC
from tests.factories import ADMIN, approved

MIGRATION: Any = import_module("llmops_resources.migrations.versions.0029_judges_are_priced_by_the_ledger")
SAID = Verdict(values={"right": 4.0})
AS_BEFORE = """
UPDATE evaluation_runs SET
  judging = jsonb_set(judging, '{suite,judges,0,inputPrice}', '"2.5"'),
  result = jsonb_set(result #- '{judged,judges,0,currency}', '{judged,judges,0,judge,outputPrice}', '"10"')
WHERE id = :id
"""


def test_prices_go_and_what_was_said_to_be_paid_stays(platform: Platform) -> None:
    run = answered(platform, model_of(platform, "one"), benchmark(platform), ["right 0", "wrong"])
    judge = approved(platform, Kind.MODEL, "judge", files={"model.safetensors": b"judge"})
    with platform.transaction(ADMIN) as tx:
        made = judge_runs.request(tx, run.id, JudgeSuite(rubric=RUBRIC, judges=(Judge(model_id=judge.id),)))
    with platform.transaction(Actor("system:dagster")) as tx:
        runs.claim(tx, made.id, attempt=1, run_id="run")
        task = judge_runs.task(tx, platform.settings, made)
        said = {(unit.index, swapped): SAID for unit in task.units for swapped in orders(task.suite)}
        heard = Heard(said, 0, 10, 10, Decimal("0.5"), "USD")
        runs.finish(tx, made.id, result(task.suite, task.units, [heard], {}), run_id="run")
    with platform.engine.begin() as connection:
        connection.execute(text(AS_BEFORE), {"id": made.id})
        connection.execute(text(MIGRATION.REQUESTED))
        connection.execute(text(MIGRATION.REPORTED))
    with platform.transaction(ADMIN) as tx:
        found = runs.get(tx, made.id)
    assert found.result is not None
    assert found.result.judged is not None
    (report,) = found.result.judged.judges
    assert (report.cost, report.currency) == (Decimal("0.5"), "USD")
    assert "inputPrice" not in str(found.judging)
