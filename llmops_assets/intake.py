"""Sensors: a queued row becomes exactly one run, dead work is put back, new names are loaded, models are evaluated.

A tick of the daemon begins every five seconds at best, so a tick here waits for work instead of looking once: a row
is picked up within a fraction of a second while a tick is waiting. Exactly one run an attempt follows from the run
key `<row id>:<attempt>`, by which Dagster knows a run it has made before, from the claim under the row's lock, and
from the lease, by which we know that a process died.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from llmops_assets import mirror, run_pods
from llmops_assets.admission import CONCURRENT, NEVER_BEGAN, RunPhase, RunView, Step, Verb, admit
from llmops_assets.claims import ROOM_TAG, WORK_TAG, Room
from llmops_assets.code_server import CodeServer
from llmops_assets.mirror import CatalogState
from llmops_assets.outgoing import Outgoing
from llmops_assets.sensors import Tick, sensor
from llmops_resources.catalog import imports
from llmops_resources.checks import comparisons, validations
from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError, ValidationFailed
from llmops_resources.evaluation import afterwards, schedules
from llmops_resources.evaluation import runs as evaluations
from llmops_resources.platform import Platform
from llmops_resources.serving import deployments
from llmops_resources.training import jobs, mirroring, queueing
from llmops_resources.training.capacity import capacity_of
from llmops_resources.values import utc_now
from llmops_resources.work import WorkItem, WorkStatus

ACTOR: Final = Actor("system:intake")
ROOMS: Final[tuple[Room[Any], ...]] = (validations, comparisons, imports, jobs, evaluations, deployments)
TICK_SECONDS: Final = 20.0
POLL: Final = 0.5
QUIET_SECONDS: Final = 1.0  # a change of the catalog that no row waits for is loaded after so long without another
LONGEST_DEBOUNCE: Final = 5.0
_KEPT_REFUSALS: Final = 100

PHASES: Final = {
    dg.DagsterRunStatus.NOT_STARTED: RunPhase.CREATED,
    dg.DagsterRunStatus.QUEUED: RunPhase.WAITING,
    dg.DagsterRunStatus.SUCCESS: RunPhase.ENDED,
    dg.DagsterRunStatus.FAILURE: RunPhase.ENDED,
    dg.DagsterRunStatus.CANCELED: RunPhase.ENDED,
}


def build_sensors(state: CatalogState) -> list[dg.SensorDefinition]:
    """One intake a room, the mirror, and the automatic evaluation, for definitions built from `state`."""

    def intake(room: Room[Any]) -> dg.SensorDefinition:
        def evaluate(context: dg.SensorEvaluationContext) -> Tick:
            """Starts a run for every queued row, and puts rows back whose run died."""
            return _waiting(context, lambda: take_in(context.instance, _platform(context), room, state.keys))

        return sensor(f"{room.ROOM}_intake", evaluate)

    def follow_catalog(context: dg.SensorEvaluationContext) -> Tick:
        """Loads the definitions again when the catalog has other names or edges than they show."""
        changes = _Changes(_platform(context), state)
        return _waiting(context, changes.settle)

    def go_out(context: dg.SensorEvaluationContext) -> Tick:
        """Sends messages to the outside, and removes the files of deleted versions and the pods of ended jobs."""
        return _waiting(context, Outgoing(_platform(context)).look)

    def copy_experiments(context: dg.SensorEvaluationContext) -> Tick:
        """Mirrors experiments to an MLflow server, when the settings name one; apart, so that it delays no message."""
        platform = _platform(context)
        if not platform.settings.mlflow_tracking_uri:
            return dg.SkipReason("MLFLOW_TRACKING_URI is not set")
        return _waiting(context, lambda: _mirror_experiments(platform))

    def evaluate_on_time(context: dg.SensorEvaluationContext) -> Tick:
        """Asks for the evaluations that their schedules make due, times that nobody saw pass counting as one, and for
        the reviews and judgings that finished evaluations were requested with."""
        return _waiting(context, lambda: _request_due(_platform(context)))

    return [
        *map(intake, ROOMS),
        sensor("catalog_mirror", follow_catalog),
        sensor("outgoing", go_out),
        sensor("mlflow_mirror", copy_experiments),
        sensor("automatic_evaluation", evaluate_models),
        sensor("scheduled_evaluation", evaluate_on_time),
    ]


def _request_due(platform: Platform) -> None:
    with platform.transaction(ACTOR) as tx:
        schedules.request_due(tx, utc_now())
    judge_due(platform)


def judge_due(platform: Platform) -> None:
    """One look at the finished evaluations that somebody is to judge; each begins as whoever requested it."""
    with platform.transaction(ACTOR) as tx:
        due = afterwards.due(tx)
    for evaluation_id, actor in due:
        with platform.transaction(actor) as tx:
            afterwards.begin(tx, evaluation_id)


def _mirror_experiments(platform: Platform) -> None:
    mirroring.mirror(platform.settings, lambda: platform.transaction(ACTOR))


def take_in(
    instance: dg.DagsterInstance, platform: Platform, room: Room[Any], known: frozenset[tuple[str, ...]]
) -> dg.SensorResult | None:
    """One look at a room's rows: requests for runs, or None when there is nothing to launch."""
    if room is jobs:
        with platform.transaction(ACTOR) as tx:
            queueing.admit_waiting(tx, capacity_of(platform.settings))
    with platform.transaction(ACTOR) as tx:
        items = room.active(tx)
    runs = {item.run_key: run for item in items if (run := _run_of(instance, item)) is not None}
    never_began = run_pods.NEVER_BEGAN if run_pods.in_cluster(platform) else NEVER_BEGAN
    steps = admit(items, runs, known, limit=CONCURRENT[room.ROOM], never_began=never_began)
    for step in steps:
        if step.verb is Verb.GIVE_UP:
            _give_up(instance, platform, room, step)
    requests = [
        request
        for step in steps
        if step.verb is Verb.LAUNCH and (request := _request(platform, room, step.item)) is not None
    ]
    return dg.SensorResult(run_requests=requests) if requests else None


def evaluate_models(context: dg.SensorEvaluationContext) -> Tick:
    """Requests the evaluation that a finished training job asked for, once a job."""
    platform = _platform(context)
    refused: list[str] = json.loads(context.cursor or "[]")
    requested: set[UUID] = set()
    return _waiting(context, lambda: _evaluate_finished(context, platform, refused, requested))


def _evaluate_finished(
    context: dg.SensorEvaluationContext, platform: Platform, refused: list[str], requested: set[UUID]
) -> None:
    """The rows decide and not the materialization events: a run can die between the two.

    `requested` are the jobs that this tick has seen to already.
    """
    with platform.transaction(ACTOR) as tx:
        finished = jobs.search(tx, status=WorkStatus.SUCCEEDED, limit=50).items
    for job in finished:
        wanted = job.auto_evaluate
        if wanted is None or str(job.id) in refused or job.id in requested:
            continue
        try:
            with platform.transaction(ACTOR) as tx:
                evaluations.request_after_training(
                    tx,
                    job_id=job.id,
                    model_id=job.output_version_id,
                    dataset_id=wanted.dataset_id,
                    metrics=wanted.metrics,
                )
            requested.add(job.id)
        except PlatformError as error:
            context.log.warning("the model of job %s is not evaluated: %s", job.id, error)
            refused.append(str(job.id))
            context.update_cursor(json.dumps(refused[-_KEPT_REFUSALS:]))


class _Changes:
    """The difference between the loaded definitions and the catalog, loaded once it has settled."""

    def __init__(self, platform: Platform, loaded: CatalogState) -> None:
        self._platform, self._loaded = platform, loaded
        self._seen, self._since, self._first = loaded.fingerprint, 0.0, 0.0

    def settle(self) -> dg.SkipReason | None:
        """Reload when a row waits for a new name, or when other changes have been quiet for a moment."""
        with self._platform.transaction(ACTOR) as tx:
            current = mirror.read(tx)
            waiting = [item for room in ROOMS for item in room.active(tx) if item.status is WorkStatus.QUEUED]
        if current.fingerprint == self._loaded.fingerprint:
            self._first = 0.0
            return None
        now = time.monotonic()
        self._first = self._first or now
        if current.fingerprint != self._seen:
            self._seen, self._since = current.fingerprint, now
        urgent = any(item.asset_key not in self._loaded.keys for item in waiting)
        if not urgent and now - self._since < QUIET_SECONDS and now - self._first < LONGEST_DEBOUNCE:
            return None
        reloaded = CodeServer(self._platform.settings.code_server_port).reload()
        return dg.SkipReason("the definitions were loaded again" if reloaded else "there is no code server to reload")


def _waiting(context: dg.SensorEvaluationContext, look: Callable[[], Tick | None]) -> Tick:
    """Look again and again until there is something to say, the tick is over, or newer definitions are served."""
    server = CodeServer(_platform(context).settings.code_server_port)
    served, end, checked = server.server_id(), time.monotonic() + TICK_SECONDS, time.monotonic()
    while True:
        if (found := look()) is not None:
            return found
        now = time.monotonic()
        if now > end:
            return dg.SkipReason("nothing to do")
        if served is not None and now - checked > 1:
            checked = now
            if server.server_id() != served:
                return dg.SkipReason("newer definitions are served")
        time.sleep(POLL)


def _request(platform: Platform, room: Room[Any], item: WorkItem) -> dg.RunRequest | None:
    """The run of a row; None when the cluster could never give it its place, which the row then says."""
    try:
        placed = run_pods.tags(platform, item)
    except ValidationFailed as error:
        with platform.transaction(ACTOR) as tx:
            room.fail(tx, item.id, error.told)
        return None
    keys = [item.asset_key]
    if item.asset_key[0] == "datasets":
        keys.append(("validation_reports", *item.asset_key[1:]))
    return dg.RunRequest(
        run_key=item.run_key,
        asset_selection=[dg.AssetKey(list(key)) for key in keys],
        tags={WORK_TAG: item.run_key, ROOM_TAG: item.room, **placed},
    )


def _run_of(instance: dg.DagsterInstance, item: WorkItem) -> RunView | None:
    if item.status is not WorkStatus.QUEUED:
        return None
    records = instance.get_run_records(dg.RunsFilter(tags={RUN_KEY_TAG: item.run_key}), limit=1)
    if not records:
        return None
    run = records[0].dagster_run
    created = records[0].create_timestamp
    age = (datetime.now(UTC) - (created if created.tzinfo else created.replace(tzinfo=UTC))).total_seconds()
    return RunView(run.run_id, PHASES.get(run.status, RunPhase.UNDER_WAY), age)


def _give_up(instance: dg.DagsterInstance, platform: Platform, room: Room[Any], step: Step) -> None:
    why = run_pods.explain(platform, step.run_id) if step.run_id else None
    reason = f"{step.reason}: {why.tag.value}: {why.detail}" if why else step.reason
    with platform.transaction(ACTOR) as tx:
        if why is not None and room is jobs:
            jobs.end_dead(tx, step.item.id, attempt=step.item.attempt, reason=reason, why=why)
        else:
            room.retry_dead(tx, step.item.id, attempt=step.item.attempt, reason=reason)
    run = instance.get_run_by_id(step.run_id) if step.run_id else None
    if run is not None and not run.is_finished:
        if run_pods.in_cluster(platform):
            instance.run_launcher.terminate(run.run_id)  # its pod may still be waiting for a place
        instance.report_run_failed(run, f"Marked as failed by the intake: {step.reason}.")


def _platform(context: dg.SensorEvaluationContext) -> Platform:
    platform: Platform = context.resources.platform
    return platform
