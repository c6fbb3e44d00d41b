"""A training job's run, from approved inputs to a registered version."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import dagster as dg

from llmops_assets import programs, run_pods, scratch
from llmops_assets.claims import ACTOR, Ask, claimed
from llmops_assets.names import console_link, markdown_table, sparkline
from llmops_assets.training import cluster_run
from llmops_assets.training.keeper import Keeper
from llmops_assets.training.log import JobLog
from llmops_resources.blobs import Manifest
from llmops_resources.catalog import airlock
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import PlatformError, UpstreamFailed
from llmops_resources.governance.keys import issue_job_token
from llmops_resources.platform import Platform
from llmops_resources.training import experiments, failures, jobs, queueing, submission
from llmops_resources.training.capacity import capacity_of
from llmops_resources.training.experiments import Metric
from llmops_resources.training.failures import JobFailed
from llmops_resources.training.job import ask_of, has_own_pods
from llmops_resources.training.jobs import TrainingTask
from llmops_resources.training.masking import Masking, secrets_of
from llmops_resources.values import utc_now

PROGRAM: Final = "llmops_assets.training.sft"
SUMMARY: Final = "training_summary.json"
CARD: Final = "README.md"
GRACE: Final = 60.0  # seconds that a program which is asked to stop has for its last checkpoint
TOKEN_LIFETIME: Final = timedelta(days=2)
KEPT_FROM_SUMMARY: Final = (
    "final_loss", "eval_loss", "perplexity", "tokens", "steps", "seconds", "attempts", "parameters", "code_digest",
)  # fmt: skip


def train(context: dg.AssetExecutionContext, name: str) -> dg.MaterializeResult[Any]:
    """Run the requested job, or the model's standing recipe when nobody asked."""
    platform: Platform = context.resources.platform
    with claimed(
        context, jobs, lambda tx: _standing(platform, tx, name), cancelled=jobs.mark_cancelled, failed=jobs.fail_because
    ) as task:
        with scratch.folder(platform, task.job.id) as work:
            keeper = Keeper(platform.blobs, task.job.id)
            token = issue_job_token(platform.settings.signing_key(), task.job.id, lifetime=TOKEN_LIFETIME)
            masking = Masking([token, *secrets_of(os.environ)])
            log = JobLog(platform, task.job.id, task.job.state.attempt, masking, context.log.warning)
            metrics = _Metrics(context, platform, task.job.id, keeper, log)
            manifest = platform.blobs.manifest(task.output_prefix)  # an attempt that died after it had published
            if manifest is None:
                platform.blobs.delete(task.output_prefix)  # half of what a killed attempt was publishing
                with keeper, metrics, log:
                    _run(platform, task, work, metrics, keeper, token)
                manifest = _publish(platform, task.output_prefix, work / "output")
            inspection = airlock.inspect(manifest.files, scratch.reader(platform, task.output_prefix))
            told = Manifest.of(file for file in manifest.files if file.path in {SUMMARY, CARD})
            platform.blobs.download(task.output_prefix, told, work / "told")  # these two, not the weights again
            summary = json.loads((work / "told" / SUMMARY).read_bytes())
            card = model_card(task, summary, (work / "told" / CARD).read_text())
        with platform.transaction(ACTOR) as tx:
            metrics.record(tx)
            uri = platform.blobs.uri(task.output_prefix)
            model = jobs.finish(
                tx,
                task.job.id,
                run_id=context.run.run_id,
                manifest=manifest,
                uri=uri,
                card=card,
                summary=summary,
                inspection=inspection,
            )
    keeper.forget()
    return _result(platform, task, model, summary, metrics.losses)


def _standing(platform: Platform, tx: Transaction, name: str) -> Ask:
    capacity = capacity_of(platform.settings)
    job = submission.submit_again(tx, name, capacity=capacity)
    queueing.admit_now(tx, job.id, capacity)
    return Ask(job.id)


def _run(
    platform: Platform, task: TrainingTask, work: Path, metrics: "_Metrics", keeper: Keeper, token: str
) -> None:
    job, settings = task.job, platform.settings
    if run_pods.in_cluster(platform) and has_own_pods(wanted := ask_of(job), settings):
        cluster_run.run(
            platform,
            wanted,
            work,
            recipe=job.recipe.model_dump_json(by_alias=True),
            inputs={"data": task.dataset} | ({"base": task.base} if task.base else {}),
            on_event=metrics,
            should_stop=metrics.should_stop,
        )
        return
    (work / "recipe.json").write_text(job.recipe.model_dump_json(by_alias=True))
    scratch.fetch(platform, task.dataset, work / "data")
    if task.base is not None:
        scratch.fetch(platform, task.base, work / "base")
    if (step := keeper.restore(work / "resume")) is not None:
        metrics.say(f"going on from step {step}")
    threads = str(max(1, settings.training_threads // job.recipe.processes))
    try:
        programs.run(
            PROGRAM,
            work,
            environment={
                "API_BASE_URL": job.api_base_url or settings.api_base_url,
                "JOB_ID": str(job.id),
                "JOB_TOKEN": token,
                "HF_HUB_OFFLINE": "1",
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "RAYON_NUM_THREADS": threads,
            },
            on_event=metrics,
            should_stop=metrics.should_stop,
            processes=job.recipe.processes,
            grace=GRACE,
            hear=metrics.log.hear,
            warm=settings.trainer,
        )
    except programs.ProgramFailed as error:
        raise JobFailed(failures.of_exit(error.status, error.said)) from error


def _publish(platform: Platform, prefix: str, output: Path) -> Manifest:
    if not output.is_dir():
        raise UpstreamFailed("the training program ended without a model", remedy="See the run's log in Dagster.")
    files = {path.name: path for path in sorted(output.iterdir()) if path.is_file()}
    return scratch.publish(platform.blobs, prefix, files)


def model_card(task: TrainingTask, summary: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The catalog's card of a trained model: the four fields a reviewer needs, the figures, and the written card."""
    job, dataset = task.job, task.dataset
    source = f"{dataset.name} {dataset.version}"
    base = f" from {task.base.name} {task.base.version}" if task.base else ""
    return {
        "purpose": f"Made by {job.job_type} on {source}{base}: {dataset.change_log or 'see the data set'}",
        "scope": f"What {source} covers, and nothing else; it was not tested for anything beyond its evaluations.",
        "contact": dataset.owner_team,
        "license": str(dataset.metadata.get("license") or f"that of its training data, {source}"),
        "description": text,
        "training": {name: summary[name] for name in KEPT_FROM_SUMMARY if name in summary},
        "recipeDigest": job.recipe_digest,
    }


def _result(
    platform: Platform, task: TrainingTask, model: Version, summary: Mapping[str, Any], losses: Sequence[float]
) -> dg.MaterializeResult[Any]:
    kept = {name: summary[name] for name in KEPT_FROM_SUMMARY if name in summary}
    curve = losses or [float(point["loss"]) for point in summary.get("curve", []) if "loss" in point]
    inputs = [version for version in (task.dataset, task.base) if version is not None]
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(["models", model.name]),
        data_version=dg.DataVersion(model.manifest.digest),
        metadata={
            "console": console_link(platform, "models", model.id),
            "job": console_link(platform, "training", task.job.id),
            "version": model.version,
            "digest": model.manifest.digest,
            "recipe": task.job.recipe_digest,
            "made from": markdown_table({f"{v.kind} {v.name} {v.version}": f"`{v.digest}`" for v in inputs}),
            "loss": dg.MetadataValue.md(f"`{sparkline(curve)}`"),
            "bytes": model.size_bytes,
            **kept,
        },
    )


class _Metrics:
    """What a training program says: shown as progress and logs, kept to be recorded with the result.

    The program delivers its metrics to the API itself while it runs; what the API missed is recorded at the end.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, platform: Platform, job_id: UUID, keeper: Keeper, log: JobLog
    ) -> None:
        self.log = log
        self._context, self._platform, self._job_id, self._keeper = context, platform, job_id, keeper
        self._metrics: list[Metric] = []
        self._fraction, self._message, self._logged = 0.0, "starting", 0.0

    def __call__(self, event: programs.Event) -> None:
        if event.get("event") == "metric":
            self._metrics.append(
                Metric(
                    name=event["name"], value=event["value"], step=event["step"], unit=event.get("unit") or None,
                    recorded_at=utc_now(),
                )
            )  # fmt: skip
        elif event.get("event") == "progress":
            if event["message"] != self._message:
                self.log.say(str(event["message"]), "progress")
            self._fraction, self._message = float(event["fraction"]), str(event["message"])
            if time.monotonic() - self._logged > 5:
                self._logged = time.monotonic()
                self._context.log.info("%.0f%% %s", 100 * self._fraction, self._message)
        elif event.get("event") == "log":
            self.log.hear(str(event.get("message", "")))
        elif event.get("event") == "checkpoint":
            self._keeper.keep(int(event["step"]), Path(event["folder"]))
            self.say(f"checkpoint after step {event['step']}")

    def __enter__(self) -> "_Metrics":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """What a run measured before it failed is kept too: it shows why."""
        if kind is not None:
            try:
                with self._platform.transaction(ACTOR) as tx:
                    self.record(tx)
            except PlatformError as error:
                self._context.log.warning("metrics of the failed run were not recorded: %s", error)

    def say(self, message: str) -> None:
        """A line in the run's log and in the job's."""
        self._context.log.info(self.log.say(message))

    @property
    def losses(self) -> list[float]:
        """The training loss in the order of steps."""
        return [metric.value for metric in self._metrics if metric.name == "loss"]

    def should_stop(self) -> bool:
        """Write the progress down and learn whether somebody asked for the job to stop."""
        with self._platform.transaction(ACTOR) as tx:
            return jobs.report_progress(
                tx, self._job_id, self._fraction, self._message, run_id=self._context.run.run_id
            )

    def record(self, tx: Transaction) -> None:
        """Store every metric; the ones the API has stored already are overwritten with themselves."""
        for start in range(0, len(self._metrics), 500):
            experiments.record(tx, self._job_id, self._metrics[start : start + 500])
