"""An evaluation's asset: a model and a benchmark, to scores that become evidence about the model."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import dagster as dg

from llmops_assets import programs, scratch
from llmops_assets.claims import ACTOR, Ask, claimed
from llmops_assets.evaluation import outside, seen
from llmops_assets.evaluation.gates import report_gates
from llmops_assets.evaluation.judge import judge
from llmops_assets.evaluation.partial import PARTIAL
from llmops_assets.evaluation.seen import TRAINING
from llmops_assets.names import console_link, identifier, markdown_table, upstream_ins
from llmops_resources.catalog import versions
from llmops_resources.database import Transaction
from llmops_resources.errors import PlatformError, UpstreamFailed
from llmops_resources.evaluation import gate_verdicts, judge_runs, run_lists, runs
from llmops_resources.evaluation.contamination import Source, Training
from llmops_resources.evaluation.runs import Evaluation, EvaluationTask, Result, RunType
from llmops_resources.platform import Platform
from llmops_resources.values import sha256_of

PROGRAM: Final = "llmops_assets.evaluation.score"
SHOWN_SAMPLES: Final = 10


def build_evaluation(
    model: str, benchmark: str, upstream: Mapping[tuple[str, ...], list[tuple[str, ...]]]
) -> dg.AssetsDefinition:
    """`evaluations/<model>/<benchmark>`, downstream of both."""

    @dg.multi_asset(
        name=identifier("evaluations", model, benchmark),
        ins=upstream_ins(upstream.get(("evaluations", model, benchmark), [])),
        outs={
            "scores": dg.AssetOut(
                key=dg.AssetKey(["evaluations", model, benchmark]), dagster_type=dg.Nothing, group_name="evaluations"
            )
        },
        required_resource_keys={"platform"},
        description=f"Every evaluation of {model} on {benchmark}.",
    )
    def evaluation_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return evaluate(context, model, benchmark)

    return evaluation_asset


def evaluate(context: dg.AssetExecutionContext, model: str, benchmark: str) -> dg.MaterializeResult[Any]:
    """Score the requested model on the requested benchmark, or the newest of both when nobody asked."""
    platform: Platform = context.resources.platform
    with claimed(context, runs, lambda tx: _standing(tx, model, benchmark)) as task:
        evaluation = task.evaluation
        if evaluation.run_type is RunType.LLM_JUDGE:
            answer = _judged(context, platform, evaluation)
            report_gates(context, model)
            return answer
        with scratch.folder(platform, evaluation.id, keep=PARTIAL) as work:
            scratch.fetch(platform, task.dataset, work / "data")
            (work / TRAINING).write_text(fetch_training(platform, task, work).model_dump_json(by_alias=True))
            if evaluation.through is not None:
                say = _Progress(platform, evaluation.id).say
                result = outside.evaluate(platform, task, evaluation.through, work, say)
            else:
                result = _run(platform, task, work)
            with platform.transaction(ACTOR) as tx:  # before the folder goes, so that nothing is asked twice
                done = gate_verdicts.finish(tx, evaluation.id, result, run_id=context.run.run_id)
    report_gates(context, model)
    return _materialization(platform, done, result)


def _run(platform: Platform, task: EvaluationTask, work: Path) -> Result:
    """Have the program run the model from its files."""
    (work / "suite.json").write_text(task.evaluation.suite.model_dump_json(by_alias=True))
    scratch.fetch(platform, task.model, work / "model")
    threads = str(platform.settings.training_threads)
    programs.run(
        PROGRAM,
        work,
        environment={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        on_event=_Progress(platform, task.evaluation.id),
        should_stop=lambda: False,
        warm=platform.settings.trainer,
    )
    path = work / "result.json"
    if not path.exists():
        raise UpstreamFailed("the evaluation ended without a result", remedy="See the run's log in Dagster.")
    return Result.model_validate_json(path.read_bytes())


def _judged(
    context: dg.AssetExecutionContext, platform: Platform, evaluation: Evaluation
) -> dg.MaterializeResult[Any]:
    """Have models judge the answers of an earlier evaluation."""
    progress = _Progress(platform, evaluation.id)
    with scratch.folder(platform, evaluation.id, keep=PARTIAL) as work:
        result = judge(platform, evaluation, work, progress.say)
        with platform.transaction(ACTOR) as tx:
            done = judge_runs.finish(tx, evaluation.id, result, run_id=context.run.run_id)
    return _materialization(platform, done, result)


def fetch_training(platform: Platform, task: EvaluationTask, work: Path) -> Training:
    """Download the training data that may be read to `work/training/<id>`; what cannot be had says why."""
    sources = tuple(_fetch(platform, source, work) for source in task.training.sources)
    return task.training.model_copy(update={"sources": sources})


def _fetch(platform: Platform, source: Source, work: Path) -> Source:
    if source.reason is not None:
        return source
    try:
        with platform.transaction(ACTOR) as tx:
            version = versions.get(tx, source.id)
        scratch.fetch(platform, version, work / "training" / str(source.id))
    except (PlatformError, OSError) as error:  # the scores do not depend on it
        return source.model_copy(update={"reason": f"its files cannot be read: {error}"})
    return source.model_copy(update={"rows_total": version.row_count})


def _standing(tx: Transaction, model: str, benchmark: str) -> Ask:
    return Ask(run_lists.request_again(tx, model, benchmark).id)


def _materialization(platform: Platform, evaluation: Evaluation, result: Result) -> dg.MaterializeResult[Any]:
    scores = {
        name: f"{score.value:.4g}" + (f" ({score.low:.3g}–{score.high:.3g})" if score.low is not None else "")
        for name, score in result.metrics.items()
    }
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(["evaluations", evaluation.model_name, evaluation.dataset_name]),
        data_version=dg.DataVersion(sha256_of(result.json_dict())),
        metadata={
            "console": console_link(platform, "evaluations", evaluation.id),
            "model": f"{evaluation.model_name} {evaluation.model_version}",
            "benchmark": f"{evaluation.dataset_name} {evaluation.dataset_version}",
            "scores": markdown_table(scores),
            "scored": result.counts.scored,
            "contamination": seen.line(result.contamination),
            "unscored": result.counts.unscored,
            "samples": dg.MetadataValue.json([sample.json_dict() for sample in result.samples[:SHOWN_SAMPLES]]),
            **{name: score.value for name, score in result.metrics.items()},
        },
    )


class _Progress:
    """Writes the program's progress down, at most twice a second."""

    def __init__(self, platform: Platform, evaluation_id: UUID) -> None:
        self._platform, self._evaluation_id, self._written = platform, evaluation_id, 0.0

    def __call__(self, event: programs.Event) -> None:
        if event.get("event") == "progress":
            self.say(float(event["fraction"]), str(event["message"]))

    def say(self, fraction: float, message: str) -> None:
        """How far the work is, from 0 to 1."""
        if time.monotonic() - self._written < 0.5:
            return
        self._written = time.monotonic()
        with self._platform.transaction(ACTOR) as tx:
            runs.report_progress(tx, self._evaluation_id, fraction, message)
