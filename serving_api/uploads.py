"""What both ways of uploading share: files are taken in, then the version gets its digest, all in one transaction."""

from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from llmops_resources.blobs import Gathered, Lost
from llmops_resources.catalog import evidence, imports, versions
from llmops_resources.catalog.lifecycle import Kind, PiiStatus
from llmops_resources.catalog.uploads import chunks, models, sessions
from llmops_resources.catalog.uploads.names import check_model_names
from llmops_resources.catalog.uploads.values import AnnouncedFile, Upload, UploadStatus
from llmops_resources.catalog.versions import Version
from llmops_resources.checks import uploads as datasets
from llmops_resources.checks import validations
from llmops_resources.checks.schema import ExpectedSchema
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import ErrorKind, PlatformError, ValidationFailed, field_problem
from llmops_resources.platform import Platform

Files = Iterable[tuple[str, Iterator[bytes]]]
Answer = tuple[Version, str]
Where = tuple[UUID, Kind, UUID]  # version, kind, upload

#: Refusals that the same bytes would meet again, so that keeping them is of no use.
_FINAL = frozenset(
    {ErrorKind.INVALID_INPUT, ErrorKind.UNSUPPORTED_FORMAT, ErrorKind.VALIDATION_FAILED, ErrorKind.TOO_LARGE}
)


def check_names(kind: Kind, files: Iterable[AnnouncedFile]) -> None:
    """Refuse names that no file of this kind may have, before bytes are sent. Raises ValidationFailed."""
    if kind is Kind.MODEL:
        check_model_names(file.name for file in files)
        return
    problems = []
    for number, file in enumerate(files):
        try:
            datasets.check_name(file.name)
        except PlatformError as error:
            problems.append(field_problem(f"files.{number}.name", error.message, error.remedy))
    if problems:
        raise ValidationFailed("these files cannot be part of a data set", details=problems[:50])


def take_in(
    platform: Platform,
    actor: Actor,
    kind: Kind,
    version_id: UUID,
    files: Files,
    also: Callable[[Transaction], object] | None = None,
) -> Answer:
    """Check and publish the files; the version with its digest, and what to tell. `also` commits with it.

    Raises NotFound, Conflict when the version takes no files, and whatever the checks of its kind raise.
    """
    with platform.transaction(actor) as tx:
        version = versions.get(tx, version_id, kind)
    sessions.check_takes_files(version)
    take = _model if kind is Kind.MODEL else _dataset
    return take(platform, actor, version, files, also or (lambda _tx: None))


def _dataset(
    platform: Platform, actor: Actor, dataset: Version, files: Files, also: Callable[[Transaction], object]
) -> Answer:
    prefix = f"datasets/{dataset.id}/{dataset.version}"
    manifest = datasets.take_in(
        platform.blobs,
        prefix,
        files,
        expected=ExpectedSchema.model_validate(dataset.expected_schema) if dataset.expected_schema else None,
        options=platform.check_options(),
        max_bytes=platform.settings.max_upload_bytes,
    )
    with platform.transaction(actor) as tx:
        stored = versions.attach_files(tx, dataset.id, manifest, prefix=prefix, uri=platform.blobs.uri(prefix))
        if stored.pii_status is PiiStatus.PENDING:
            validations.request(tx, dataset.id)
        also(tx)
    return stored, "the files are stored; their validation has been requested"


def _model(
    platform: Platform, actor: Actor, model: Version, files: Files, also: Callable[[Transaction], object]
) -> Answer:
    prefix = f"models/{model.id}/{model.version}"
    taken = models.take_in(platform.blobs, prefix, files, max_bytes=platform.settings.max_upload_bytes)
    with platform.transaction(actor) as tx:
        if taken.manifest is None:
            imports.request_conversion(tx, model.id, taken.staged, taken.files)
            told, stored = "the weights are being converted to safetensors; the model has its files then", model
        else:
            stored = versions.attach_files(
                tx, model.id, taken.manifest, prefix=prefix, uri=platform.blobs.uri(prefix)
            )
            told = "the files are stored; they passed the airlock"
            if model.digest is None:
                evidence.attach_airlock(tx, stored, taken.report, source_id="upload")
        also(tx)
    return stored, told


def receive_chunk(
    platform: Platform,
    actor: Actor,
    where: Where,
    body: Iterator[bytes],
    digests: chunks.Digests,
    *,
    file: int,
    offset: int,
    sha256: str,
) -> Upload:
    """Store one chunk and count it in; the upload as it stands then. The same chunk again changes nothing.

    Raises Conflict naming the right offset, InvalidInput when the bytes are not those of the digest.
    """
    with chunks.slot(platform.blobs, sessions.folder(where[2]), file, offset) as slot:
        with platform.transaction(actor) as tx:
            wanted = sessions.expect(tx, *where, file=file, offset=offset, sha256=sha256)
            upload = sessions.outline(tx, *where)
        if not wanted:
            return upload
        running, announced = digests.before((where[2], file), offset), upload.files[file - 1]
        chunk = chunks.store_chunk(slot, body, file=announced, offset=offset, sha256=sha256, running=running)
        counted = False
        try:
            with platform.transaction(actor) as tx:  # the row decides which of several writers was first
                counted = sessions.advance(tx, *where, chunk, key=slot.key)
                upload = sessions.outline(tx, *where)
        finally:
            if not counted:
                slot.discard()
        if counted:
            digests.keep((where[2], file), offset + chunk.size, running)
    return upload


def complete(platform: Platform, actor: Actor, where: Where, digests: chunks.Digests) -> Answer:
    """Put the files together and take them in, like any upload. Safe to repeat, also after a kill at any point.

    Raises Conflict while bytes are missing, or were lost by the machine, or another process is at it; a refusal for
    good ends the upload.
    """
    version_id, kind, upload_id = where
    with platform.transaction(actor) as tx:
        sessions.outline(tx, *where)
    with platform.lease(upload_id):
        with platform.transaction(actor) as tx:
            files = sessions.ready(tx, *where)
            if not files:
                return versions.get(tx, version_id, kind), "this upload is complete already"
        content = chunks.read_files(platform.blobs, upload_id, files, digests)
        try:
            answer = _taken_unless_lost(platform, actor, where, content)
        except Lost as lost:
            with platform.transaction(actor) as tx:
                sessions.lose(tx, *where, name=lost.name, start=lost.start)
            raise
        except PlatformError as error:
            if error.kind in _FINAL:
                _end(platform, actor, where, UploadStatus.REFUSED)
            raise
        platform.blobs.delete(sessions.folder(upload_id))
    return answer


def _taken_unless_lost(
    platform: Platform, actor: Actor, where: Where, content: Iterator[tuple[str, Gathered]]
) -> Answer:
    """Take the files in. Raises Lost, and not a refusal, when it was damage that was refused and not what was sent."""
    seen: list[Gathered] = []

    def files() -> Iterator[tuple[str, Gathered]]:
        for name, gathered in content:
            seen.append(gathered)
            yield name, gathered

    try:
        return take_in(
            platform, actor, where[1], where[0], files(), lambda tx: sessions.end(tx, *where, UploadStatus.COMPLETE)
        )
    except PlatformError as error:
        if error.kind in _FINAL:
            for gathered in seen:
                gathered.again().verify()
        raise


def cancel(platform: Platform, actor: Actor, where: Where) -> Upload:
    """Give the upload up, and its bytes with it. Raises Conflict when it is being completed, or is over already."""
    with platform.transaction(actor) as tx:
        sessions.outline(tx, *where)
    with platform.lease(where[2]):
        return _end(platform, actor, where, UploadStatus.CANCELLED)


def _end(platform: Platform, actor: Actor, where: Where, to: UploadStatus) -> Upload:
    with platform.transaction(actor) as tx:
        ended = sessions.end(tx, *where, to)
    platform.blobs.delete(sessions.folder(where[2]))
    return ended
