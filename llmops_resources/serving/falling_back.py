"""Serving on CPUs what found no GPU, where the installation asks for that (SERVING_GPU_FALLBACK_MINUTES).

It is a revision like any other, by the agent and with its reason, so the history tells of it and going back to the GPU
is a rollback. Nothing comes back to a GPU by itself: whether one is free now says little about the next minute.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from llmops_resources.cluster.values import Object
from llmops_resources.database import Transaction
from llmops_resources.serving import endpoints, parity, pod_status, revisions, runtimes, wishes
from llmops_resources.serving.endpoints import Endpoint
from llmops_resources.serving.environments import Environment
from llmops_resources.serving.options import AutoscalePolicy, Options, decide
from llmops_resources.serving.placing import Placement, image_of
from llmops_resources.settings import Settings


def is_due(placed: Placement, pods: Sequence[Object], settings: Settings, now: datetime) -> bool:
    """Whether an endpoint with a GPU answers nobody, since no pod of it has found one for as long as is waited."""
    minutes = settings.serving_gpu_fallback_minutes
    if minutes is None or not placed.options.use_gpu:
        return False
    since = pod_status.without_gpu_since(placed, pods)
    return since is not None and now - since >= timedelta(minutes=minutes)


def options_on_cpus(placed: Placement, settings: Settings) -> Options:
    """What an endpoint would ask for without a GPU: the same runtime's build for CPUs, where there is one."""
    present = placed.options
    policy = (present.autoscale_policy or AutoscalePolicy()).model_copy(update={"gpu_utilization": None})
    changes = {
        "use_gpu": False,
        "gpu_count": None,
        "serving_runtime_image": runtimes.on_cpus(image_of(placed, settings), settings),
        "autoscale_policy": policy if policy != AutoscalePolicy() else None,
    }
    return decide(settings, placed.backend, present.model_copy(update=changes))


def fall_back(tx: Transaction, settings: Settings, placed: Placement) -> Endpoint:
    """Make the revision. Raises Conflict when another one is wanted by now, or the model may not be served any more."""
    why = f"no GPU was free for {settings.serving_gpu_fallback_minutes:g} minutes: served on CPUs"
    present, asked = endpoints.get(tx, placed.endpoint_id), options_on_cpus(placed, settings)
    before, after = (wishes.of_environment(placed.backend, it.config) for it in (placed.options, asked))
    touched = {it.field for it in wishes.differences(before, after)}
    compared = parity.compare(tx, Environment(placed.environment), present.route, after)
    reasons = {it.field: why for it in compared.drifts if it.blocks and it.field in touched}
    given = asked.model_dump(exclude={"prompt_policy_id"})
    return revisions.redeploy(tx, settings, present.id, given, seen=placed.revision, note=why, reasons=reasons)
