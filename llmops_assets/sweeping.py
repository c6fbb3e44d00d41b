"""Sweeping: uploads that nobody goes on with, and files that were staged and never published."""

from datetime import timedelta
from typing import Final

import dagster as dg

from llmops_resources.blobs.objects import STAGING
from llmops_resources.catalog.uploads import sessions
from llmops_resources.database import Actor
from llmops_resources.platform import Platform

ACTOR: Final = Actor("system:sweep")
EVERY_SECONDS: Final = 3600
#: Files whose upload the rows still call open are left for the next sweep: the rows are ended first, a little sooner.
MARGIN: Final = timedelta(hours=1)


def sweep(platform: Platform) -> tuple[int, int]:
    """End uploads that were left alone for UPLOAD_KEEP_HOURS and remove what nothing will publish any more.

    Returns how many uploads ended, and how many objects were removed.
    """
    age = timedelta(hours=platform.settings.upload_keep_hours)
    with platform.transaction(ACTOR) as tx:
        ended = sessions.abandon(tx, age)
    removed = sum(platform.blobs.delete(sessions.folder(upload_id)) for upload_id in ended)
    for prefix in (STAGING, "datasets", "models"):
        removed += platform.blobs.sweep(prefix, age + MARGIN)
    return len(ended), removed


def build_sweep() -> dg.SensorDefinition:
    """The sensor that sweeps once an hour; it starts no runs."""

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended, removed = sweep(context.resources.platform)
        return dg.SkipReason(f"{ended} uploads were abandoned, {removed} objects removed")

    return dg.SensorDefinition(
        name="sweep",
        evaluation_fn=evaluate,
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"platform"},
        description="Removes uploads and staged files that nobody goes on with.",
    )
