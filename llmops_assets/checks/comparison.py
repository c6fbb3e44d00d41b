"""A data set's comparison: a version held against another one, for files too large to compare during a request."""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from llmops_assets import scratch
from llmops_assets.claims import ACTOR, Ask, claimed
from llmops_assets.names import console_link, identifier, markdown_table, upstream_ins
from llmops_resources.checks import comparisons
from llmops_resources.checks.comparing import compare_files
from llmops_resources.checks.diff import Diff
from llmops_resources.database import Transaction
from llmops_resources.platform import Platform
from llmops_resources.values import sha256_of

_SHOWN: Final = ("older", "newer", "added", "removed", "modified", "unchanged")


def build_comparison(name: str, upstream: Mapping[tuple[str, ...], list[tuple[str, ...]]]) -> dg.AssetsDefinition:
    """`comparisons/<name>`, downstream of the data set."""

    @dg.multi_asset(
        name=identifier("comparisons", name),
        ins=upstream_ins(upstream.get(("comparisons", name), [])),
        outs={
            "diff": dg.AssetOut(
                key=dg.AssetKey(["comparisons", name]), dagster_type=dg.Nothing, group_name="datasets", kinds={"json"}
            )
        },
        required_resource_keys={"platform"},
        description=f"Every comparison of a version of {name} with another one.",
    )
    def comparison_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return compare(context, name)

    return comparison_asset


def compare(context: dg.AssetExecutionContext, name: str) -> dg.MaterializeResult[Any]:
    """Compare the requested versions, or the newest of a name with the one before when nobody asked."""
    platform: Platform = context.resources.platform
    with (
        claimed(context, comparisons, lambda tx: _standing(tx, name)) as task,
        scratch.folder(platform, task.id) as work,
    ):
        sides = {}
        for which, version in (("older", task.older), ("newer", task.newer)):
            folder = scratch.fetch(platform, version, work / which)
            sides[which] = [(file.path, folder / file.path) for file in version.files]
        diff = compare_files(
            sides["older"],
            sides["newer"],
            digests=(task.older.manifest.digest, task.newer.manifest.digest),
            options=task.options,
            checks=platform.check_options(),
        )
        with platform.transaction(ACTOR) as tx:
            comparisons.finish(tx, task.id, diff, run_id=context.run.run_id)
    return _materialization(platform, task, diff)


def _standing(tx: Transaction, name: str) -> Ask:
    comparison = comparisons.request_again(tx, name)
    return Ask(comparison.id, comparison.state.attempt)


def _materialization(platform: Platform, task: comparisons.ComparisonTask, diff: Diff) -> dg.MaterializeResult[Any]:
    rows = diff.rows.json_dict()
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(["comparisons", task.newer.name]),
        data_version=dg.DataVersion(sha256_of(diff.json_dict())),
        metadata={
            "console": console_link(platform, "catalog/datasets", f"{task.newer.id}/compare?with={task.older.id}"),
            "older": f"{task.older.name} {task.older.version}",
            "newer": f"{task.newer.name} {task.newer.version}",
            "rows": markdown_table({name: rows[name] for name in _SHOWN}),
            "drift": str(diff.verdict),
            "drifted": ", ".join(each.column for each in diff.drift if each.verdict == "drifted") or "none",
        },
    )
