"""A model's asset. Its versions come from training jobs or from imports; the run's room says which of them to do."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from llmops_assets.catalog.imports import bring_in
from llmops_assets.claims import ACTOR, ROOM_TAG, has_row
from llmops_assets.names import identifier, upstream_ins
from llmops_assets.training.assets import train
from llmops_resources.catalog import imports
from llmops_resources.platform import Platform


def build_model(name: str, upstream: Mapping[tuple[str, ...], list[tuple[str, ...]]]) -> dg.AssetsDefinition:
    """`models/<name>`, downstream of the data sets and base models its versions were made from."""

    @dg.multi_asset(
        name=identifier("models", name),
        ins=upstream_ins(upstream.get(("models", name), [])),
        outs={
            "model": dg.AssetOut(
                key=dg.AssetKey(["models", name]), dagster_type=dg.Nothing, group_name="models", kinds={"pytorch"}
            )
        },
        required_resource_keys={"platform"},
        description=f"Every training run and every import that makes a version of the model {name}.",
    )
    def model_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return bring_in(context, name) if is_import(context, name) else train(context, name)

    return model_asset


def is_import(context: dg.AssetExecutionContext, name: str) -> bool:
    """Whether this run imports: its row says so, or, when nobody asked, the way the newest version came."""
    if has_row(context):
        return context.run.tags.get(ROOM_TAG) == imports.ROOM
    platform: Platform = context.resources.platform
    with platform.transaction(ACTOR) as tx:
        return imports.made(tx, name)
