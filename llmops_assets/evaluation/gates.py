"""The gates of a model as a check of its asset.

It does not block: what is downstream of a model is the evaluation that the gates wait for. The approval is what they
block. An evaluation's run reports the check anew, so that Dagster shows the verdict when it falls.
"""

from typing import Final

import dagster as dg

from llmops_assets.claims import ACTOR
from llmops_assets.names import identifier
from llmops_resources.evaluation import gate_verdicts
from llmops_resources.platform import Platform

CHECK: Final = "gates"


def build_gate_check(model: str) -> dg.AssetChecksDefinition:
    """The check `gates` of `models/<model>`: the newest version meets every gate in force."""

    @dg.multi_asset_check(
        name=identifier("gates", model),
        specs=[dg.AssetCheckSpec(CHECK, asset=_key(model), description="Every gate in force is passed.")],
        required_resource_keys={"platform"},
    )
    def gate_check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        passed, reasons = state(context.resources.platform, model)
        return dg.AssetCheckResult(
            asset_key=_key(model), check_name=CHECK, passed=passed, metadata={"reasons": _listed(reasons)}
        )

    return gate_check


def report_gates(context: dg.AssetExecutionContext, model: str) -> None:
    """Tell Dagster how the gates stand after an evaluation."""
    passed, reasons = state(context.resources.platform, model)
    context.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=_key(model), check_name=CHECK, passed=passed, metadata={"reasons": _listed(reasons)}
        )
    )


def state(platform: Platform, model: str) -> tuple[bool, list[str]]:
    """Whether the gates of a model are passed, and every reason why not."""
    with platform.transaction(ACTOR) as tx:
        return gate_verdicts.state_of(tx, model)


def _key(model: str) -> dg.AssetKey:
    return dg.AssetKey(["models", model])


def _listed(reasons: list[str]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {reason}" for reason in reasons) or "No gate stands in the way.")
