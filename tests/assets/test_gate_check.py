"""The gates of a model as Dagster shows them."""

import dagster as dg

from llmops_assets.evaluation.gates import build_gate_check
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.evaluation import gate_verdicts
from llmops_resources.evaluation.gate_conditions import Threshold
from llmops_resources.evaluation.gates import Gate
from llmops_resources.evaluation.suite import MetricName
from llmops_resources.platform import Platform
from tests.factories import ADMIN, approved, uploaded


def checked(platform: Platform) -> dg.AssetCheckEvaluation:
    """What the check of the model `tiny` says now."""
    tiny = dg.AssetSpec(dg.AssetKey(["models", "tiny"]))
    check = build_gate_check("tiny")
    definitions = dg.Definitions(assets=[tiny], asset_checks=[check], resources={"platform": platform})
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(check))
    ran = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job])).resolve_job_def("checks").execute_in_process()
    (said,) = ran.get_asset_check_evaluations()
    return said


def test_the_check_of_a_model_passes_without_gates_and_gives_the_reason_while_one_waits(platform: Platform) -> None:
    approved(platform, Kind.DATASET, "facts")
    uploaded(platform, Kind.MODEL, "tiny")
    assert checked(platform).passed
    gate = Gate(
        name="bar", model="tiny", benchmark="facts", conditions=(Threshold(metric=MetricName.F1, at_least=0.5),)
    )
    with platform.transaction(ADMIN) as tx:
        gate_verdicts.declare(tx, gate)
    said = checked(platform)
    assert not said.passed
    assert "the gate bar on facts has not judged it" in str(said.metadata["reasons"].value)
