"""The list of everything Dagster runs. Nothing heavy is imported, and nothing is loaded before Dagster asks."""

import logging
from typing import Final

import dagster as dg

from llmops_assets.catalog.assets import build_model
from llmops_assets.checks.assets import build_dataset
from llmops_assets.checks.comparison import build_comparison
from llmops_assets.evaluation.assets import build_evaluation
from llmops_assets.evaluation.gates import build_gate_check
from llmops_assets.intake import build_sensors
from llmops_assets.looking import build_looking
from llmops_assets.mirror import CatalogState, Mirror, edges, upstream_of
from llmops_assets.serving.assets import build_endpoint
from llmops_assets.sweeping import build_sweep
from llmops_resources.dagster import platform_resource

log: Final = logging.getLogger(__name__)


def build(state: CatalogState) -> dg.Definitions:
    """The definitions that show a state of the catalog."""
    kept, dropped = edges(state)
    for up, down in dropped:
        log.warning("left out of the asset graph, it would close a cycle: %s -> %s", "/".join(up), "/".join(down))
    upstream = upstream_of(kept)
    return dg.Definitions(
        assets=[
            *(build_dataset(name, upstream) for name in state.datasets),
            *(build_comparison(name, upstream) for name in state.comparisons),
            *(build_model(name, upstream) for name in state.models),
            *(build_evaluation(model, benchmark, upstream) for model, benchmark in state.evaluations),
            *(build_endpoint(environment, route, upstream) for environment, route, _model in state.endpoints),
        ],
        asset_checks=[build_gate_check(name) for name in state.models],
        sensors=[*build_sensors(state), build_sweep(), build_looking()],
        resources={"platform": platform_resource},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster -m llmops_assets.definitions` finds."""
    return Mirror(build).build_defs()
