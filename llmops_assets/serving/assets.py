"""An endpoint's asset: one revision, rolled out by the backend and watched here until it is what was asked for."""

import time
from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from llmops_assets.claims import ACTOR, Ask, Cancelled, claimed
from llmops_assets.names import console_link, identifier, upstream_ins
from llmops_resources.database import Transaction
from llmops_resources.errors import NotFound, UpstreamTimeout
from llmops_resources.platform import Platform
from llmops_resources.serving import deployments, endpoints
from llmops_resources.serving.deployments import Deployment
from llmops_resources.serving.endpoints import Endpoint, EndpointStatus
from llmops_resources.serving.options import IN_A_CLUSTER

ROLL_OUT_SECONDS: Final = 180.0
CLUSTER_ROLL_OUT_SECONDS: Final = 2400.0  # an image is pulled and a large model fetched and loaded
POLL: Final = 0.2
DONE: Final = frozenset({EndpointStatus.HEALTHY, EndpointStatus.STOPPED})


def build_endpoint(
    environment: str, route: str, upstream: Mapping[tuple[str, ...], list[tuple[str, ...]]]
) -> dg.AssetsDefinition:
    """`endpoints/<environment>/<route>`, downstream of the model it serves."""

    @dg.multi_asset(
        name=identifier("endpoints", environment, route),
        ins=upstream_ins(upstream.get(("endpoints", environment, route), [])),
        outs={
            "endpoint": dg.AssetOut(
                key=dg.AssetKey(["endpoints", environment, route]), dagster_type=dg.Nothing, group_name="endpoints"
            )
        },
        required_resource_keys={"platform"},
        description=f"Every roll-out at the route {route} in {environment}.",
    )
    def endpoint_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return roll_out(context, environment, route)

    return endpoint_asset


def roll_out(context: dg.AssetExecutionContext, environment: str, route: str) -> dg.MaterializeResult[Any]:
    """Wait until the backend has made the revision true. Fails when it takes three minutes, in a cluster forty."""
    platform: Platform = context.resources.platform
    standing = lambda tx: _standing(tx, platform, environment, route)  # noqa: E731  shorter than a function that captures both
    with claimed(context, deployments, standing, cancelled=deployments.mark_cancelled) as deployment:
        endpoint = _wait(platform, deployment)
        with platform.transaction(ACTOR) as tx:
            deployments.finish(tx, deployment.id, run_id=context.run.run_id)
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(["endpoints", environment, route]),
        data_version=dg.DataVersion(f"{deployment.model_digest}#{deployment.revision}"),
        metadata={
            "console": console_link(platform, "endpoints", endpoint.id),
            "model": f"{endpoint.model_name} {endpoint.version}",
            "digest": deployment.model_digest,
            "revision": deployment.revision,
            "status": str(endpoint.status),
            "replicas": endpoint.replicas.ready,
        },
    )


def _standing(tx: Transaction, platform: Platform, environment: str, route: str) -> Ask:
    return Ask(deployments.redeploy_again(tx, platform.settings, environment, route).id)


def _wait(platform: Platform, deployment: Deployment) -> Endpoint:
    began = time.monotonic()
    while True:
        with platform.transaction(ACTOR) as tx:
            if deployments.report_progress(tx, deployment.id, 0.5, "waiting until it answers"):
                raise Cancelled
            try:
                endpoint = endpoints.get(tx, deployment.endpoint_id)
            except NotFound as error:
                raise Cancelled from error
        if endpoint.revision != deployment.revision:
            raise Cancelled  # a newer revision overtook this one
        if endpoint.status in DONE:
            return endpoint
        allowed = CLUSTER_ROLL_OUT_SECONDS if endpoint.backend in IN_A_CLUSTER else ROLL_OUT_SECONDS
        if time.monotonic() - began > allowed:
            raise UpstreamTimeout(
                f"{endpoint.route} did not become healthy: {endpoint.status_detail}",
                remedy="See the endpoint's log, then redeploy it or roll it back.",
            )
        time.sleep(POLL)
