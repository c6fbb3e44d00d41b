"""Models brought in from elsewhere, as work: requested, claimed by a run, finished as the files of a draft.

Three sources: a repository of the Hugging Face Hub at a pinned revision, a folder of the server below
MODEL_IMPORT_ROOT, and pickled weights that were uploaded and must become safetensors first (a conversion).
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from llmops_resources import work
from llmops_resources.blobs import Manifest, StoredFile
from llmops_resources.catalog import evidence, lineage, versions
from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.lifecycle import Kind, ModelType, Status
from llmops_resources.catalog.tables import ImportRow
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound, ValidationFailed, field_problem
from llmops_resources.values import Value
from llmops_resources.work import WorkItem, WorkState, WorkStatus

ROOM = "imports"
REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
DEFAULT_REVISION: Final = "main"


class Source(StrEnum):
    HUGGINGFACE = "huggingface"
    DIRECTORY = "directory"
    CONVERSION = "conversion"


class Origin(Value):
    """Where a model comes from.

    `location`: `org/name` of a repository, or a folder, absolute or below MODEL_IMPORT_ROOT. `revision`: a branch, tag
    or commit of a repository (default `main`); the commit it means when the import runs is recorded.
    """

    source: Source
    location: str
    revision: str | None = None


class ModelImport(Value):
    """One import; `resolved` is the commit that was brought in, `report` the airlock's, once it has looked."""

    id: UUID
    model_id: UUID
    origin: Origin
    resolved: str | None
    report: AirlockReport | None
    state: WorkState


class ImportTask(Value):
    """What the run that claimed an import needs; `staged` are uploaded files that wait in `origin.location`.

    `resolved` and `report` are there when an earlier attempt got as far as the airlock.
    """

    id: UUID
    origin: Origin
    staged: tuple[StoredFile, ...]
    model: Version
    output_prefix: str
    resolved: str | None
    report: AirlockReport | None


def check_origin(origin: Origin, *, root: Path | None, offline: bool) -> Origin:
    """The origin as it is imported: its folder resolved, its revision filled in.

    Raises ValidationFailed for a bad name or a folder that is not below `root`, Conflict for the Hub when offline.
    """
    if origin.source is Source.HUGGINGFACE:
        if offline:
            raise Conflict(
                "this platform does not use the Hugging Face Hub: HF_HUB_OFFLINE is set",
                remedy="Set HF_HUB_OFFLINE=false and start it again, or download the model elsewhere and upload it.",
            )
        return _check_repository(origin)
    if origin.source is Source.DIRECTORY:
        return Origin(source=origin.source, location=str(folder_below(root, origin.location)))
    raise _refused("source", "a conversion starts with an upload", "Upload the .bin or .pt files to the model.")


def folder_below(root: Path | None, location: str) -> Path:
    """The real path of a folder below `root`, symbolic links followed. Raises ValidationFailed."""
    if root is None:
        remedy = "Set MODEL_IMPORT_ROOT to the folder below which models may be imported, and start the platform again."
        raise _refused("location", "importing folders of the server is not switched on", remedy)
    allowed = root.expanduser().resolve()
    try:
        folder = (allowed / location).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        folder = None
    if folder is None or not folder.is_relative_to(allowed) or not folder.is_dir():
        problem = f"there is no folder {location[:200]!r} below MODEL_IMPORT_ROOT"
        raise _refused("location", problem, "Name a model's folder below it; a link may not lead out of it.")
    return folder


def request(
    tx: Transaction,
    origin: Origin,
    *,
    name: str,
    version: str,
    owner_team: str,
    type: ModelType = ModelType.BASE,  # noqa: A002  the specification's name
    metadata: dict[str, Any] | None = None,
    dataset_ids: Sequence[UUID] = (),
) -> ModelImport:
    """A new model version in `draft` whose files are on their way. `origin` has passed `check_origin`.

    `dataset_ids` are the data sets it was trained on. Raises ValidationFailed for bad names and unknown data sets,
    Conflict when the version exists.
    """
    if type is ModelType.EXTERNAL:
        raise _refused("type", "an external model has no files to import", "Use base or fine-tuned.")
    model = versions.create(
        tx, Kind.MODEL, name=name, version=version, owner_team=owner_team, type=type, metadata=metadata
    )
    lineage.declare(tx, model.id, dataset_ids)
    return _add(tx, model, origin)


def again(tx: Transaction, model_id: UUID | str) -> ModelImport:
    """Try the last import of a draft once more; one that is under way is returned as it is.

    Raises NotFound when nothing was imported, Conflict when the model has its files or the upload must be repeated.
    """
    model = versions.get(tx, model_id, Kind.MODEL)
    last = latest(tx, model.id)
    if last.state.status in work.ACTIVE:
        return last
    if last.origin.source is Source.CONVERSION:
        raise Conflict("uploaded pickles are kept for one conversion", remedy="Upload the files again.")
    return _add(tx, model, last.origin)


def import_again(tx: Transaction, name: str) -> ModelImport:
    """The standing recipe of an imported model: its origin once more, as the next version.

    Raises NotFound when no version of the name was imported, Conflict when it came from an upload.
    """
    last = _newest_of(tx, name)
    if last is None:
        raise NotFound(f"no version of {name} was imported", remedy="Import it first.")
    if last.source == Source.CONVERSION:
        raise Conflict(f"{name} came from an upload", remedy="Upload its next version.")
    before = versions.get(tx, last.model_id)
    return request(
        tx,
        _origin(last),
        name=name,
        version=versions.next_version(tx, Kind.MODEL, name),
        owner_team=before.owner_team,
        type=before.type or ModelType.BASE,
        metadata={key: value for key, value in before.metadata.items() if not key.startswith("huggingface")},
        dataset_ids=lineage.trained_on(tx, before.id),
    )


def request_conversion(
    tx: Transaction, version_id: UUID, staged_prefix: str, files: Sequence[StoredFile]
) -> ModelImport:
    """Have uploaded pickles converted. `files` lie in the folder `staged_prefix`, which the work deletes in the end.

    Raises Conflict when the version has files already, is no draft, or an import of it is under way.
    """
    model = versions.get(tx, version_id, Kind.MODEL)
    return _add(tx, model, Origin(source=Source.CONVERSION, location=staged_prefix), files)


def latest(tx: Transaction, model_id: UUID | str) -> ModelImport:
    """The newest import of a model version. Raises NotFound when there was none."""
    found = find(tx, model_id)
    if found is None:
        raise NotFound("this model was not imported", remedy="It was trained here or uploaded, or has no files yet.")
    return found


def find(tx: Transaction, model_id: UUID | str) -> ModelImport | None:
    """The newest import of a model version, if there was one. Raises NotFound when there is no such model."""
    model = versions.get(tx, model_id, Kind.MODEL)
    query = select(ImportRow).filter_by(model_id=model.id).order_by(ImportRow.requested_at.desc())
    row = tx.session.scalar(query.limit(1))
    return _value(row) if row else None


def made(tx: Transaction, name: str) -> bool:
    """Whether the newest version of the name that has files was brought in by an import."""
    newest = next((version for version in versions.of_name(tx, Kind.MODEL, name) if version.digest), None)
    row = _newest_of(tx, name)
    return row is not None and (newest is None or row.model_id == newest.id)


def cancel(tx: Transaction, model_id: UUID | str) -> ModelImport:
    """Ask for a queued or running import to stop. Raises Conflict for a finished one."""
    row = work.load(tx, ImportRow, latest(tx, model_id).id, "import")
    work.cancel(row)
    tx.audit("import.cancel", "model", row.model_id, work=str(row.id))
    return _value(row)


def active(tx: Transaction) -> list[WorkItem]:
    """Imports that still need a run."""
    query = select(ImportRow).where(ImportRow.status.in_(work.ACTIVE)).order_by(ImportRow.queued_at)
    rows = tx.session.scalars(query)
    return [work.item(tx, row, ROOM, versions.get(tx, row.model_id).dagster_asset_key) for row in rows]


def claim(tx: Transaction, import_id: UUID, *, attempt: int, run_id: str) -> ImportTask:
    """Take the import for a run that holds its lease; its model must still be a draft without files."""
    row = work.load(tx, ImportRow, import_id, "import")
    work.claim(row, attempt=attempt, run_id=run_id)
    model = versions.get(tx, row.model_id, Kind.MODEL)
    _check_open(model)
    tx.audit("import.start", "model", row.model_id, work=str(row.id), run=run_id)
    return ImportTask(
        id=row.id,
        origin=_origin(row),
        staged=tuple(StoredFile.model_validate(file) for file in row.files),
        model=model,
        output_prefix=f"models/{model.id}/{model.version}",
        resolved=row.resolved,
        report=AirlockReport.model_validate(row.report) if row.report else None,
    )


def record_inspection(
    tx: Transaction, import_id: UUID, report: AirlockReport, *, run_id: str, resolved: str | None = None
) -> None:
    """Keep what the airlock said, before anything is published or the import fails over it."""
    row = work.load(tx, ImportRow, import_id, "import")
    work.check_run(row, run_id)
    row.report, row.resolved = report.json_dict(), resolved
    tx.audit("import.inspect", "model", row.model_id, accepted=report.accepted, problems=len(report.problems))


def finish(
    tx: Transaction,
    import_id: UUID,
    *,
    run_id: str,
    manifest: Manifest,
    uri: str,
    report: AirlockReport,
    card: dict[str, Any],
) -> Version:
    """Give the draft its files, with the airlock's report as evidence; `card` fills what the card does not say yet."""
    row = work.load(tx, ImportRow, import_id, "import")
    work.succeed(row, run_id=run_id)
    row.report = report.json_dict()
    model = versions.get(tx, row.model_id)
    said = {key: value for key, value in model.metadata.items() if value not in {"", None}}
    versions.change_card(tx, model.id, {**card, **said})
    prefix = f"models/{model.id}/{model.version}"
    model = versions.attach_files(tx, model.id, manifest, prefix=prefix, uri=uri)
    evidence.attach_airlock(tx, model, report, source_id=row.id)
    tx.audit("import.finish", "model", model.id, work=str(row.id), digest=manifest.digest)
    return model


def fail(tx: Transaction, import_id: UUID, error: str, *, run_id: str | None = None) -> None:
    """The import failed; the draft stays without files."""
    row = work.load(tx, ImportRow, import_id, "import")
    if run_id is not None:
        work.check_run(row, run_id)
    work.fail(row, error)
    tx.audit("import.fail", "model", row.model_id, work=str(row.id), error=error[:500])


def mark_cancelled(tx: Transaction, import_id: UUID) -> None:
    """The run noticed the request to stop and stopped."""
    row = work.load(tx, ImportRow, import_id, "import")
    work.move(row, WorkStatus.CANCELLED)
    tx.audit("import.cancelled", "model", row.model_id, work=str(row.id))


def report_progress(tx: Transaction, import_id: UUID, fraction: float, message: str) -> bool:
    """Show how far the import is, and learn whether somebody asked for it to stop."""
    work.report_progress(tx, ImportRow, import_id, fraction, message)
    return bool(tx.session.scalar(select(ImportRow.cancel_requested).where(ImportRow.id == import_id)))


def retry_dead(tx: Transaction, import_id: UUID, *, attempt: int, reason: str) -> bool:
    """Put an import whose process died back into the queue; False when it was given up or already moved on."""
    row = work.load(tx, ImportRow, import_id, "import")
    tried_again = work.retry_dead(row, attempt=attempt, reason=reason)
    tx.audit("import.retry", "model", row.model_id, work=str(row.id), attempt=row.attempt, reason=reason)
    return tried_again


def _add(tx: Transaction, model: Version, origin: Origin, files: Sequence[StoredFile] = ()) -> ModelImport:
    """The row; the model is locked meanwhile, so that two requests cannot both find that nothing is under way."""
    versions.load(tx, model.id)
    _check_open(model)
    under_way = select(ImportRow.id).filter_by(model_id=model.id).where(ImportRow.status.in_(work.ACTIVE))
    if tx.session.scalar(under_way) is not None:
        raise Conflict(f"{model.name} {model.version} is being imported", remedy="Wait for it, or cancel it.")
    row = ImportRow(
        model_id=model.id,
        source=origin.source,
        location=origin.location,
        revision=origin.revision,
        files=[file.json_dict() for file in files],
        requested_by=tx.actor.id,
    )
    tx.session.add(row)
    tx.session.flush()
    tx.audit("import.request", "model", model.id, work=str(row.id), **origin.json_dict())
    return _value(row)


def _check_open(model: Version) -> None:
    if model.digest is not None:
        raise Conflict(f"{model.name} {model.version} has its files", remedy="Import them as a new version.")
    if model.status is not Status.DRAFT:
        raise Conflict(f"{model.name} {model.version} is {model.status}", remedy="Files can be added to drafts only.")


def _newest_of(tx: Transaction, name: str) -> ImportRow | None:
    ids = [version.id for version in versions.of_name(tx, Kind.MODEL, name)]
    query = select(ImportRow).where(ImportRow.model_id.in_(ids), ImportRow.status == WorkStatus.SUCCEEDED)
    return tx.session.scalar(query.order_by(ImportRow.requested_at.desc()).limit(1))


def _check_repository(origin: Origin) -> Origin:
    if not REPOSITORY.fullmatch(origin.location) or ".." in origin.location:
        problem = f"{origin.location[:200]!r} is not a repository of the Hugging Face Hub"
        raise _refused("location", problem, "Write it as organisation/name, such as HuggingFaceTB/SmolLM2-135M.")
    revision = origin.revision or DEFAULT_REVISION
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise _refused("revision", f"{revision[:200]!r} is not a revision", "Name a branch, a tag or a commit.")
    return Origin(source=origin.source, location=origin.location, revision=revision)


def _refused(field: str, problem: str, remedy: str) -> ValidationFailed:
    return ValidationFailed(
        "the model cannot be imported: " + problem, remedy=remedy, details=[field_problem(field, problem, remedy)]
    )


def _origin(row: ImportRow) -> Origin:
    return Origin(source=Source(row.source), location=row.location, revision=row.revision)


def _value(row: ImportRow) -> ModelImport:
    return ModelImport(
        id=row.id,
        model_id=row.model_id,
        origin=_origin(row),
        resolved=row.resolved,
        report=AirlockReport.model_validate(row.report) if row.report else None,
        state=work.state(row),
    )
