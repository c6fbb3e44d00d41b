"""Runs as pods: what makes one the pod of its training job, why one ended, and that none outlives its job.

On one machine all of this does nothing.
"""

import time
from typing import Final
from uuid import UUID

from llmops_resources.cluster import ATTEMPT, JOB, Cluster, Object
from llmops_resources.cluster.values import MANAGED_BY
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import NotFound, PlatformError, Unavailable
from llmops_resources.platform import Platform
from llmops_resources.settings import TrainingBackend
from llmops_resources.training import failures, job, jobs
from llmops_resources.training.failures import Cause
from llmops_resources.work import ACTIVE, WorkItem

ACTOR: Final = Actor("system:intake")
RUN_LABEL: Final = "dagster/run-id"
#: Seconds after which a pod that has not begun is given up: images are large, and nodes may have to be added first.
NEVER_BEGAN: Final = 1800.0
PERIOD: Final = 5.0  # seconds between two looks for what outlived its job


def in_cluster(platform: Platform) -> bool:
    """Whether runs are pods."""
    return platform.settings.training_backend is TrainingBackend.KUBERNETES


def tags(platform: Platform, item: WorkItem) -> dict[str, str]:
    """The tags that make a run's pod the one its training job asks for; none for other work and on one machine.

    Raises ValidationFailed for a job that this installation cannot place.
    """
    if item.room != jobs.ROOM or not in_cluster(platform):
        return {}
    with platform.transaction(ACTOR) as tx:
        wanted = job.ask_of(jobs.get(tx, item.id))
    with platform.cluster() as cluster:
        return job.run_tags(wanted, platform.settings, minikube=cluster.is_minikube())


def explain(platform: Platform, run_id: str) -> Cause | None:
    """What the pod of a run tells of its end, or of why it does not start; None on one machine or when it is silent."""
    if not in_cluster(platform):
        return None
    try:
        with platform.cluster() as cluster:
            pods = cluster.select("Pod", {RUN_LABEL: run_id})
            made = cluster.select("Job", {RUN_LABEL: run_id})
            events = cluster.events(made[0]["metadata"]["name"]) if made and not pods else ()
    except PlatformError:
        return None
    found = failures.of_pods(made[0] if made else {}, pods, events)
    return found or next((why for pod in pods if (why := failures.of_waiting(pod))), None)


class Leftovers:
    """Jobs in the cluster whose row is done with them: cancelled while they waited, or tried again since."""

    def __init__(self, platform: Platform) -> None:
        self._platform, self._looked = platform, 0.0

    def look(self) -> int:
        """Remove what is left over, at most every PERIOD seconds; how many there were. Later while the API is away."""
        now = time.monotonic()
        if not in_cluster(self._platform) or now - self._looked < PERIOD:
            return 0
        self._looked = now
        try:
            with self._platform.cluster() as cluster:
                return remove_leftovers(self._platform, cluster)
        except Unavailable:
            return 0


def remove_leftovers(platform: Platform, cluster: Cluster) -> int:
    """Remove the Jobs that no row is waiting for; how many there were. Raises Unavailable."""
    there = [thing for thing in cluster.select("Job", {MANAGED_BY: "llmops"}) if JOB in thing["metadata"]["labels"]]
    if not there:
        return 0
    with platform.transaction(ACTOR) as tx:
        over = [thing for thing in there if _is_over(tx, thing)]
    return sum(cluster.delete("Job", thing["metadata"]["name"], uid=thing["metadata"]["uid"]) for thing in over)


def _is_over(tx: Transaction, thing: Object) -> bool:
    """Whether a row is finished, or has gone on to an attempt after the next: that one may still take a Job over."""
    marks = thing["metadata"]["labels"]
    try:
        row = jobs.get(tx, UUID(marks[JOB]))
    except (NotFound, ValueError):
        return False  # another installation's
    return row.state.status not in ACTIVE or int(marks.get(ATTEMPT, "0")) < row.state.attempt - 1
