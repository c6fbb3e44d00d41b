"""An import's run: files fetched, converted where they are pickles, inspected as they are stored, then published."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import dagster as dg

from llmops_assets import programs, scratch
from llmops_assets.catalog import folders
from llmops_assets.claims import ACTOR, Ask, Cancelled, claimed
from llmops_assets.names import console_link
from llmops_resources.blobs import Draft, Manifest, StoredFile
from llmops_resources.catalog import airlock, imports
from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.airlock.names import Role, role_of
from llmops_resources.catalog.airlock.safetensors import header_bytes
from llmops_resources.catalog.airlock.selection import select
from llmops_resources.catalog.imports import ImportTask, Source
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, PlatformError, TooLarge, ValidationFailed
from llmops_resources.platform import Platform

DOWNLOAD: Final = "llmops_assets.catalog.download"
CONVERT: Final = "llmops_assets.catalog.convert"
_FETCHED: Final = 0.6  # of the whole work, when files are fetched or converted before they are stored
_FRONT_MATTER: Final = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)
_LICENSE: Final = re.compile(r"^license:[ \t]*['\"]?([\w.+ -]{1,100}?)['\"]?[ \t]*$", re.MULTILINE)

Bytes = Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Gathered:
    """Where the files of an import are, by name; the commit they come from; and what the report says beside that."""

    files: dict[str, Bytes]
    sha256: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def bring_in(context: dg.AssetExecutionContext, name: str) -> dg.MaterializeResult[Any]:
    """Run the requested import, or the last one again as a new version when nobody asked."""
    platform: Platform = context.resources.platform
    with claimed(context, imports, lambda tx: _standing(tx, name), cancelled=imports.mark_cancelled) as task:
        try:
            with scratch.folder(platform, task.id) as work:
                manifest, report, commit = _files(context, platform, task, work)
        except (PlatformError, Cancelled):
            _forget_staged(platform, task)
            raise
        readme = _readme(platform, task.output_prefix, manifest)
        with platform.transaction(ACTOR) as tx:
            model = imports.finish(
                tx,
                task.id,
                run_id=context.run.run_id,
                manifest=manifest,
                uri=platform.blobs.uri(task.output_prefix),
                report=report,
                card=card_of(task, commit, readme),
            )
        _forget_staged(platform, task)
    return _result(platform, task, model, report, commit)


def card_of(task: ImportTask, commit: str | None, readme: str) -> dict[str, Any]:
    """What the source says for the model card: where it comes from, and its licence from the README's head."""
    card: dict[str, Any] = {}
    if task.origin.source is Source.HUGGINGFACE:
        card = {"huggingface_model_id": task.origin.location, "huggingface_revision": commit}
    head = _FRONT_MATTER.search(readme)
    if head and (found := _LICENSE.search(head[1])):
        card["license"] = found[1].strip()
    return card


def _standing(tx: Transaction, name: str) -> Ask:
    return Ask(imports.import_again(tx, name).id)


def _files(
    context: dg.AssetExecutionContext, platform: Platform, task: ImportTask, work: Path
) -> tuple[Manifest, AirlockReport, str | None]:
    """The published files, what the airlock said about them, and the commit."""
    published = platform.blobs.manifest(task.output_prefix)
    if published is not None and task.report is not None:  # an attempt that died after it had published
        return published, task.report, task.resolved
    platform.blobs.delete(task.output_prefix)  # half of what a killed attempt was publishing
    progress = _Progress(context, platform, task)
    gathered = _gather(platform, task, work, progress)
    with Draft(platform.blobs, task.output_prefix) as draft:
        files = _store(draft, gathered, progress, platform.settings.max_upload_bytes)
        report = airlock.inspect(files, draft.read)
        report = report.model_copy(update={"summary": {**report.summary, **gathered.notes}})
        with platform.transaction(ACTOR) as tx:
            imports.record_inspection(tx, task.id, report, run_id=context.run.run_id, resolved=gathered.commit)
        _demand_accepted(report)
        return draft.publish(files), report, gathered.commit


def _demand_accepted(report: AirlockReport) -> None:
    if report.accepted and not report.needs_conversion:
        return
    problem = report.problems[0] if report.problems else None
    first = f"{problem.path}: {problem.problem}" if problem else "it still holds pickles"
    count = report.summary.get("problemCount", len(report.problems))
    raise ValidationFailed(
        f"the airlock found {count} problem(s); the first: {first}.",
        remedy=problem.remedy if problem else "Upload safetensors.",
        details=report.details(),
    )


def _gather(platform: Platform, task: ImportTask, work: Path, progress: "_Progress") -> Gathered:
    source = work / "source"
    if task.origin.source is Source.HUGGINGFACE:
        return _fetch(platform, task, work, progress)
    if task.origin.source is Source.CONVERSION:
        platform.blobs.download(task.origin.location, Manifest.of(task.staged), source)
        files: dict[str, Bytes] = {file.path: partial(scratch.chunks, source / file.path) for file in task.staged}
        left_out: list[str] = []
    else:
        root = platform.settings.model_import_root
        folder = imports.folder_below(root, task.origin.location)
        chosen, left_out = select(folders.files_of(folder))
        files = {path: partial(folders.chunks, root or folder, folder / path) for path in chosen}
    gathered = Gathered(files=files, notes=_notes(left_out))
    if any(role_of(path) is Role.PICKLED_WEIGHTS for path in files):
        return _convert(platform, gathered, work, progress)
    return gathered


def _fetch(platform: Platform, task: ImportTask, work: Path, progress: "_Progress") -> Gathered:
    settings = platform.settings
    origin = imports.check_origin(task.origin, root=None, offline=settings.hf_hub_offline)
    asked = {"repository": origin.location, "revision": origin.revision, "max_bytes": settings.max_upload_bytes}
    (work / "origin.json").write_text(json.dumps(asked))
    progress.span(0.0, _FETCHED)
    environment = {
        "HF_HUB_OFFLINE": "0", "HF_HOME": str(work / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"
    }  # fmt: skip
    programs.run(DOWNLOAD, work, environment=environment, on_event=progress, should_stop=progress.should_stop)
    resolved = json.loads((work / "resolved.json").read_bytes())
    progress.span(_FETCHED, 1.0)
    return Gathered(
        files={path: partial(scratch.chunks, work / "source" / path) for path in resolved["files"]},
        sha256=resolved["sha256"],
        commit=resolved["commit"],
        notes=_notes(resolved["left_out"]),
    )


def _convert(platform: Platform, gathered: Gathered, work: Path, progress: "_Progress") -> Gathered:
    """Pickled weights become safetensors in the sandbox; the pickles in the work folder are gone afterwards."""
    source, left = work / "source", platform.settings.max_upload_bytes
    source.mkdir(exist_ok=True)
    pickles = [path for path in gathered.files if role_of(path) is Role.PICKLED_WEIGHTS]
    for path in pickles:
        if not (source / path).exists():
            with (source / path).open("wb") as copy:
                for piece in gathered.files[path]():
                    left = _less(left, len(piece), path)
                    copy.write(piece)
                    progress.look()
    progress.span(0.0, _FETCHED)
    programs.run(
        CONVERT,
        work,
        environment={"OMP_NUM_THREADS": "1"},
        on_event=progress,
        should_stop=progress.should_stop,
        walled=True,
    )
    for path in pickles:
        (source / path).unlink()
    progress.span(_FETCHED, 1.0)
    kept = {
        path: chunks
        for path, chunks in gathered.files.items()
        if path not in pickles and not path.endswith((".bin.index.json", ".pt.index.json"))
    }
    made = {path.name: partial(scratch.chunks, path) for path in sorted((work / "converted").iterdir())}
    notes = {**gathered.notes, "convertedFrom": pickles[:50], "sandbox": progress.walls}
    return Gathered(files={**kept, **made}, notes=notes)


def _store(draft: Draft, gathered: Gathered, progress: "_Progress", left: int) -> list[StoredFile]:
    """Every file in the draft, `left` bytes of them at most."""
    stored = []
    for number, (path, chunks) in enumerate(sorted(gathered.files.items())):
        progress.show(number / len(gathered.files), f"storing {path}")
        asked = header_bytes if role_of(path) is Role.WEIGHTS else None
        file = draft.add(path, _watched(chunks(), progress), max_bytes=left, asked=asked)
        if gathered.sha256.get(path, file.sha256) != file.sha256:
            raise Conflict(f"{path} is not what the Hub says it is: its SHA-256 differs", remedy="Import it again.")
        left -= file.size
        stored.append(file)
    return stored


def _watched(pieces: Iterator[bytes], progress: "_Progress") -> Iterator[bytes]:
    for piece in pieces:
        progress.look()
        yield piece


def _less(left: int, used: int, path: str) -> int:
    if used > left:
        raise TooLarge(f"{path} makes the model larger than MAX_UPLOAD_BYTES", remedy="Raise it, or use fewer files.")
    return left - used


def _notes(left_out: list[str]) -> dict[str, Any]:
    return {"leftOut": [airlock.shown(path) for path in left_out[:50]], "leftOutCount": len(left_out)}


def _readme(platform: Platform, prefix: str, manifest: Manifest) -> str:
    if not any(file.path == "README.md" for file in manifest.files):
        return ""
    return platform.blobs.read_range(f"{prefix}/README.md", 0, 65_536).decode(errors="replace")


def _forget_staged(platform: Platform, task: ImportTask) -> None:
    """Uploaded pickles are of no more use, whatever became of them."""
    if task.origin.source is Source.CONVERSION:
        platform.blobs.delete(task.origin.location)


def _result(
    platform: Platform, task: ImportTask, model: Version, report: AirlockReport, commit: str | None
) -> dg.MaterializeResult[Any]:
    seen: Mapping[str, Any] = report.summary
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(["models", model.name]),
        data_version=dg.DataVersion(model.manifest.digest),
        metadata={
            "console": console_link(platform, "models", model.id),
            "version": model.version,
            "digest": model.manifest.digest,
            "source": f"{task.origin.source} {task.origin.location}",
            "commit": commit or "",
            "parameters": int(seen["parameters"]),
            "tensors": int(seen["tensors"]),
            "bytes": model.size_bytes,
        },
    )


class _Progress:
    """How far an import is: a program's events or our own words, written down with the question whether to stop."""

    def __init__(self, context: dg.AssetExecutionContext, platform: Platform, task: ImportTask) -> None:
        self._context, self._platform, self._id = context, platform, task.id
        self._start, self._end = 0.0, 1.0
        self._fraction, self._message, self._looked = 0.0, "starting", 0.0
        self.walls: dict[str, Any] = {}

    def __call__(self, event: programs.Event) -> None:
        if event.get("event") == "progress":
            self.show(float(event["fraction"]), str(event["message"]))
        elif event.get("event") == "walls":
            self.walls = {"exitsClosed": bool(event["exits_closed"])}

    def span(self, start: float, end: float) -> None:
        """What follows is this part of the whole."""
        self._start, self._end = start, end

    def show(self, fraction: float, message: str) -> None:
        """Say how far the present part is."""
        self._fraction, self._message = self._start + (self._end - self._start) * fraction, message

    def look(self) -> None:
        """Twice a second: write the progress down. Raises Cancelled when somebody asked for that."""
        if time.monotonic() - self._looked < programs.POLL:
            return
        self._looked = time.monotonic()
        if self.should_stop():
            raise Cancelled

    def should_stop(self) -> bool:
        """Write the progress down and learn whether somebody asked for the import to stop."""
        with self._platform.transaction(ACTOR) as tx:
            return imports.report_progress(tx, self._id, self._fraction, self._message)
