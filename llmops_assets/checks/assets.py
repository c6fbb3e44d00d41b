"""A data set's assets: the files themselves, and the report of checking them, which blocks what is built on them."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import dagster as dg

from llmops_assets import scratch
from llmops_assets.claims import ACTOR, Ask, claimed
from llmops_assets.names import console_link, identifier, markdown_table, upstream_ins
from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.checks import validations
from llmops_resources.checks.report import ValidationReport, check
from llmops_resources.checks.schema import ExpectedSchema
from llmops_resources.checks.validations import ValidationTask
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.platform import Platform
from llmops_resources.values import sha256_of

CHECKS: Final = ("structure", "pii", "quality")
_SHARES: Final = {"structure": (0.0, 0.3), "pii": (0.3, 0.5), "quality": (0.8, 0.2)}  # where a step starts, its share

Result = dg.MaterializeResult[Any] | dg.AssetCheckResult


def build_dataset(name: str, upstream: Mapping[tuple[str, ...], list[tuple[str, ...]]]) -> dg.AssetsDefinition:
    """`datasets/<name>` with its blocking checks, and `validation_reports/<name>`."""
    dataset, report = dg.AssetKey(["datasets", name]), dg.AssetKey(["validation_reports", name])
    sources = upstream.get(("datasets", name), [])

    @dg.multi_asset(
        name=identifier("datasets", name),
        ins=upstream_ins(sources),
        outs={
            "files": dg.AssetOut(
                key=dataset, dagster_type=dg.Nothing, is_required=False, group_name="datasets", kinds={"table"}
            ),
            "report": dg.AssetOut(
                key=report, dagster_type=dg.Nothing, is_required=False, group_name="datasets", kinds={"json"}
            ),
        },
        internal_asset_deps={"files": {dg.AssetKey(list(key)) for key in sources}, "report": {dataset}},
        check_specs=[dg.AssetCheckSpec(check_name, asset=dataset, blocking=True) for check_name in CHECKS],
        can_subset=True,
        required_resource_keys={"platform"},
        description=f"Every validation of a version of the data set {name}.",
    )
    def dataset_assets(context: dg.AssetExecutionContext) -> Iterator[Result]:
        yield from validate(context, name)

    return dataset_assets


def validate(context: dg.AssetExecutionContext, name: str) -> Iterator[Result]:
    """Check the files of the requested version, or of the newest one when nobody asked."""
    platform: Platform = context.resources.platform
    with (
        claimed(context, validations, lambda tx: _standing(tx, name)) as task,
        scratch.folder(platform, task.id) as work,
    ):
        files = scratch.fetch(platform, task.dataset, work / "data")
        schema = task.dataset.expected_schema
        report = check(
            [(file.path, files / file.path) for file in task.dataset.files],
            expected=ExpectedSchema.model_validate(schema) if schema else None,
            options=platform.check_options(),
            progress=_progress(platform, task),
        )
        with platform.transaction(ACTOR) as tx:
            validations.finish(tx, task.id, report, run_id=context.run.run_id)
    yield from _results(context, platform, task, report)


def _standing(tx: Transaction, name: str) -> Ask:
    newest = next((version for version in versions.of_name(tx, Kind.DATASET, name) if version.digest), None)
    if newest is None:
        raise Conflict(f"the data set {name} has no files yet", remedy="Upload a version first.")
    validation = validations.request(tx, newest.id)
    return Ask(validation.id, validation.state.attempt)


def _progress(platform: Platform, task: ValidationTask) -> Callable[[str, float], None]:
    """Writes the progress of a check down, at most twice a second."""
    written = 0.0

    def write(step: str, fraction: float) -> None:
        nonlocal written
        if time.monotonic() - written < 0.5:
            return
        written = time.monotonic()
        start, share = _SHARES.get(step, (0.0, 1.0))
        with platform.transaction(ACTOR) as tx:
            validations.report_progress(tx, task.id, start + share * fraction, step)

    return write


def _results(
    context: dg.AssetExecutionContext, platform: Platform, task: ValidationTask, report: ValidationReport
) -> Iterator[Result]:
    dataset, link = task.dataset, console_link(platform, "datasets", task.dataset.id)
    selected = {key.path[0]: key for key in context.selected_asset_keys}
    if "datasets" in selected:
        yield dg.MaterializeResult(
            asset_key=selected["datasets"],
            data_version=dg.DataVersion(dataset.manifest.digest),
            metadata={
                "console": link,
                "version": dataset.version,
                "digest": dataset.manifest.digest,
                "dagster/row_count": report.row_count,
                "bytes": dataset.size_bytes,
                "columns": ", ".join(f"{column.name}: {column.type}" for column in report.columns),
            },
        )
    if "validation_reports" in selected:
        yield dg.MaterializeResult(
            asset_key=selected["validation_reports"],
            data_version=dg.DataVersion(sha256_of(report.json_dict())),
            metadata={
                "console": link,
                "version": dataset.version,
                "passed": report.passed,
                "quality score": report.quality.score,
                "quality": markdown_table({part.name: part.score for part in report.quality.parts}),
                "recommendations": dg.MetadataValue.md("\n".join(f"- {line}" for line in report.recommendations)),
            },
        )
    wanted = {key.name for key in context.selected_asset_check_keys}
    yield from (result for result in check_results(report) if result.check_name in wanted)


def check_results(report: ValidationReport) -> list[dg.AssetCheckResult]:
    """One result for each of the three checks."""
    structure, pii, quality = report.structure, report.pii, report.quality
    return [
        dg.AssetCheckResult(
            check_name="structure",
            passed=structure.passed,
            metadata={"problems": structure.problem_count, **{p.kind: p.message for p in structure.problems[:20]}},
        ),
        dg.AssetCheckResult(
            check_name="pii",
            passed=pii.status == "clean",
            metadata={"status": str(pii.status), "found": dg.MetadataValue.json(dict(pii.by_type))},
            description=pii.detail or None,
        ),
        dg.AssetCheckResult(
            check_name="quality",
            passed=quality.score >= report.quality_threshold,
            metadata={"score": quality.score, "threshold": report.quality_threshold},
        ),
    ]
