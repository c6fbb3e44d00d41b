"""Sweeping: what nobody goes on with, what was staged and never published, and metrics and logs that are too old."""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

import dagster as dg

from llmops_assets import scratch
from llmops_assets.sensors import sensor
from llmops_resources.blobs.objects import STAGING
from llmops_resources.catalog.uploads import sessions
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import Conflict
from llmops_resources.gateway import retention as calls
from llmops_resources.platform import Platform
from llmops_resources.prompts.experiments import retention as experiment_retention
from llmops_resources.serving import events
from llmops_resources.training import checkpoints, retention

ACTOR: Final = Actor("system:sweep")
EVERY_SECONDS: Final = 3600
#: Files whose upload the rows still call open are left for the next sweep: the rows are ended first, a little sooner.
MARGIN: Final = timedelta(hours=1)
#: Seconds that one sweep spends on old metrics and logs; what is left waits for the next one.
FORGETTING: Final = 20.0


def sweep(platform: Platform) -> tuple[int, int]:
    """End uploads that were left alone for UPLOAD_KEEP_HOURS and remove what nothing will publish any more.

    Returns how many uploads ended, and how many objects were removed.
    """
    age = timedelta(hours=platform.settings.upload_keep_hours)
    with platform.transaction(ACTOR) as tx:
        ended = sessions.abandon(tx, age)
    removed = sum(platform.blobs.delete(sessions.folder(upload_id)) for upload_id in ended)
    for prefix in (STAGING, "datasets", "models", checkpoints.ROOT):
        removed += platform.blobs.sweep(prefix, age + MARGIN)
    _sweep_scratch(platform, age + MARGIN)
    forget(platform)
    return len(ended), removed + _sweep_checkpoints(platform)


def forget(platform: Platform, *, seconds: float = FORGETTING, batch: int = retention.BATCH) -> int:
    """Remove what is older than RETENTION_DAYS, batch by batch; how many rows.

    That is what was seen of endpoints, who took part in prompt experiments that ended, calls with what users said of
    them, and metrics and logs of jobs.
    """
    age, removed, until = timedelta(days=platform.settings.retention_days), 0, time.monotonic() + seconds
    with platform.transaction(ACTOR) as tx:
        removed += events.forget_old(tx, age)
        experiments = experiment_retention.outlived(tx, age)
    for experiment_id in experiments:
        if time.monotonic() < until:
            with platform.transaction(ACTOR) as tx:
                removed += experiment_retention.forget(tx, experiment_id, age)
    removed += _until_nothing_is_left(platform, until, lambda tx: calls.forget(tx, age, batch=batch))
    while time.monotonic() < until:
        with platform.transaction(ACTOR) as tx:
            outlived = retention.outlived(tx, age)
        if not outlived:
            break
        for job_id in outlived:
            forget_job = partial(retention.forget, job_id=job_id, age=age, batch=batch)
            removed += _until_nothing_is_left(platform, until, forget_job)
    return removed


def _until_nothing_is_left(platform: Platform, until: float, forget_some: Callable[[Transaction], int]) -> int:
    """Forget batch by batch, each in a transaction of its own, while there is time; how many rows."""
    removed = 0
    while time.monotonic() < until:
        with platform.transaction(ACTOR) as tx:
            gone = forget_some(tx)
        removed += gone
        if gone == 0:
            break
    return removed


def _sweep_checkpoints(platform: Platform) -> int:
    """Remove the checkpoints of jobs that nobody has gone on with for CHECKPOINT_KEEP_HOURS; how many objects."""
    names = {entry.key.split("/")[1] for entry in platform.blobs.list(checkpoints.ROOT)}
    jobs = [UUID(name) for name in names]
    age = timedelta(hours=platform.settings.checkpoint_keep_hours)
    with platform.transaction(ACTOR) as tx:
        expired = checkpoints.expired(tx, jobs, age)
    return sum(platform.blobs.delete(checkpoints.folder(job_id)) for job_id in expired)


def _sweep_scratch(platform: Platform, age: timedelta) -> None:
    """Remove work folders that a killed run left and no other attempt has cleared."""
    for folder in scratch.folders(platform):
        if folder.stat().st_mtime > time.time() - age.total_seconds():
            continue
        with suppress(Conflict), platform.lease(UUID(folder.name)):  # held: somebody works in it
            shutil.rmtree(folder, ignore_errors=True)


def build_sweep() -> dg.SensorDefinition:
    """The sensor that sweeps once an hour; it starts no runs."""

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Removes uploads and staged files that nobody goes on with."""
        ended, removed = sweep(context.resources.platform)
        return dg.SkipReason(f"{ended} uploads were abandoned, {removed} objects removed")

    return sensor("sweep", evaluate, every_seconds=EVERY_SECONDS)
