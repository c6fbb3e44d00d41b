"""An upload in chunks as rows: begun, advanced by one chunk at a time, ended in one of four ways."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select

from llmops_resources import pages
from llmops_resources.blobs import Piece
from llmops_resources.blobs.objects import STAGING
from llmops_resources.catalog import versions
from llmops_resources.catalog.airlock.names import MAX_FILES
from llmops_resources.catalog.lifecycle import Kind, ModelType, Status
from llmops_resources.catalog.tables import UploadChunkRow, UploadFileRow, UploadRow
from llmops_resources.catalog.uploads.chunks import whole_name
from llmops_resources.catalog.uploads.names import check_label
from llmops_resources.catalog.uploads.values import (
    MAX_CHUNKS,
    AnnouncedFile,
    ReceivedChunk,
    Upload,
    UploadFile,
    UploadState,
    UploadStatus,
)
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, InvalidInput, NotFound, TooLarge, ValidationFailed, field_problem
from llmops_resources.pages import Page, Position
from llmops_resources.values import utc_now

#: Open uploads of one version; more are somebody's mistake, and each may hold as many bytes as an upload may have.
MAX_OPEN = 5


def check_takes_files(version: Version) -> None:
    """Raises Conflict when the version is not a draft without files, or is of a kind that has none."""
    if version.type is ModelType.EXTERNAL:
        raise Conflict(f"{version.name} is an external model and has no files", remedy="Set its provider instead.")
    if version.status is not Status.DRAFT and version.digest is None:
        raise Conflict(f"{version.name} {version.version} is {version.status}", remedy="Upload files to drafts only.")


def begin(
    tx: Transaction,
    version_id: UUID,
    kind: Kind,
    files: Sequence[AnnouncedFile],
    *,
    chunk_size: int,
    max_bytes: int,
) -> UploadState:
    """A new upload, or the open one of exactly these files, to go on with.

    Raises ValidationFailed naming every bad file, TooLarge, or Conflict when the version takes no files (any more).
    """
    version = versions.value(versions.load(tx, version_id))
    if version.kind is not kind:
        raise NotFound(f"there is no {kind} {version_id}", remedy=f"List the {kind}s of the catalog to find its id.")
    check_takes_files(version)
    if version.digest is not None:
        raise Conflict(
            f"{version.name} {version.version} has its files already",
            remedy="A version is immutable: create a new version for the new files.",
        )
    _check_announced(files, max_bytes)
    opened = _rows(tx, version_id, UploadStatus.OPEN)
    wanted = [(file.name, file.size, file.sha256) for file in files]
    for row in opened:
        if [(file.name, file.size, file.sha256) for file in _files(tx, row.id)] == wanted:
            return _state(tx, row, kind)
    if len(opened) >= MAX_OPEN:
        raise Conflict(
            f"{version.name} {version.version} has {len(opened)} unfinished uploads",
            remedy="Finish or cancel one of them.",
        )
    row = UploadRow(
        id=uuid4(),
        version_id=version_id,
        status=UploadStatus.OPEN,
        chunk_size=max(chunk_size, *(-(-file.size * 2 // MAX_CHUNKS) for file in files)),
        created_by=tx.actor.id,
    )
    tx.session.add(row)
    tx.session.flush()
    for number, file in enumerate(files, start=1):
        tx.session.add(
            UploadFileRow(upload_id=row.id, number=number, name=file.name, size=file.size, sha256=file.sha256)
        )
    tx.session.flush()
    total = sum(file.size for file in files)
    tx.audit(f"{kind}.upload.begin", kind, version_id, upload=str(row.id), files=len(files), bytes=total)
    return _state(tx, row, kind)


def get(tx: Transaction, version_id: UUID, kind: Kind, upload_id: UUID) -> UploadState:
    """The upload with its chunks. Raises NotFound, also when it belongs to another version."""
    return _state(tx, _load(tx, version_id, kind, upload_id), kind)


def outline(tx: Transaction, version_id: UUID, kind: Kind, upload_id: UUID) -> Upload:
    """As `get`, without the chunks."""
    return _value(tx, _load(tx, version_id, kind, upload_id), kind)


def search(
    tx: Transaction, version_id: UUID, kind: Kind, *, after: Position | None = None, limit: int = 50
) -> Page[Upload]:
    """The open uploads of a version, newest first."""
    versions.get(tx, version_id, kind)
    query = select(UploadRow).filter_by(version_id=version_id, status=UploadStatus.OPEN)
    order = (UploadRow.created_at, UploadRow.id)
    return pages.fetch(tx, query, order, after=after, limit=limit, value=lambda row: _value(tx, row, kind))


def expect(
    tx: Transaction, version_id: UUID, kind: Kind, upload_id: UUID, *, file: int, offset: int, sha256: str
) -> bool:
    """Whether this chunk is wanted; not when this very chunk is there already.

    Raises NotFound, or Conflict for an upload that is over, a wrong offset (naming the right one) or too many chunks.
    """
    row = _load(tx, version_id, kind, upload_id)
    _check_open(row)
    target = _file(tx, upload_id, file)
    if _is_there(tx, target, offset, sha256):
        return False
    _check_offset(target, offset)
    query = select(func.count()).select_from(UploadChunkRow).filter_by(upload_id=upload_id, number=file)
    if tx.session.scalars(query).one() >= MAX_CHUNKS:
        raise Conflict(
            f"file {file} came in {MAX_CHUNKS:,} chunks and is not complete",
            remedy=f"Begin again, with chunks of {row.chunk_size:,} bytes.",
        )
    return True


def advance(
    tx: Transaction, version_id: UUID, kind: Kind, upload_id: UUID, chunk: ReceivedChunk, *, key: str
) -> bool:
    """Count a stored chunk in; False when the same chunk was counted in meanwhile, so that this object is not needed.

    Raises Conflict when another chunk was faster, or the upload is over by now.
    """
    row = _load(tx, version_id, kind, upload_id, lock=True)
    _check_open(row)
    target = _file(tx, upload_id, chunk.file)
    if _is_there(tx, target, chunk.offset, chunk.sha256):
        return False
    _check_offset(target, chunk.offset)
    tx.session.add(
        UploadChunkRow(
            upload_id=upload_id, number=chunk.file, start=chunk.offset, size=chunk.size, sha256=chunk.sha256, key=key
        )
    )
    target.received += chunk.size
    tx.session.flush()
    return True


def ready(
    tx: Transaction, version_id: UUID, kind: Kind, upload_id: UUID
) -> list[tuple[UploadFile, list[Piece]]]:
    """Each file with its chunks in order, and where they lie; empty when the upload is complete already.

    Raises Conflict when the upload is over, or bytes are still missing.
    """
    row = _load(tx, version_id, kind, upload_id)
    if row.status == UploadStatus.COMPLETE:
        return []
    _check_open(row)
    files = [_file_value(file) for file in _files(tx, row.id)]
    if missing := [file for file in files if file.offset < file.size]:
        raise Conflict(
            f"{sum(file.size - file.offset for file in missing):,} bytes of {len(missing)} file(s) are still missing",
            remedy=f"Go on with file {missing[0].number} at offset {missing[0].offset}.",
        )
    pieces: dict[int, list[Piece]] = {file.number: [] for file in files}
    for chunk in _chunks(tx, row.id):
        own = not chunk.key.endswith(f"/{whole_name(chunk.number)}")
        pieces[chunk.number].append(Piece(chunk.key, 0 if own else chunk.start, chunk.size, chunk.sha256))
    return [(file, pieces[file.number]) for file in files]


def lose(tx: Transaction, version_id: UUID, kind: Kind, upload_id: UUID, *, name: str, start: int) -> None:
    """The bytes of a file are gone from `start` on, although they had been counted in: they are wanted again."""
    row = _load(tx, version_id, kind, upload_id, lock=True)
    _check_open(row)
    file = next(file for file in _files(tx, upload_id) if file.name == name)
    chunks = delete(UploadChunkRow).filter_by(upload_id=upload_id, number=file.number)
    tx.session.execute(chunks.where(UploadChunkRow.start >= start))
    file.received = start
    tx.session.flush()
    tx.audit(f"{kind}.upload.lost", kind, version_id, upload=str(upload_id), file=file.number, offset=start)


def end(tx: Transaction, version_id: UUID, kind: Kind, upload_id: UUID, to: UploadStatus) -> Upload:
    """The upload is over. Ended the same way already is fine; raises Conflict when it ended in another way."""
    row = _load(tx, version_id, kind, upload_id, lock=True)
    if row.status != to:
        _check_open(row)
        _finish(tx, row, to)
        tx.audit(f"{kind}.upload.{to}", kind, version_id, upload=str(upload_id))
    return _value(tx, row, kind)


def abandon(tx: Transaction, older_than: timedelta) -> list[UUID]:
    """End the open uploads of which nothing has been heard for so long; their ids, so that their bytes can go."""
    last = func.coalesce(func.max(UploadChunkRow.received_at), UploadRow.created_at)
    query = (
        select(UploadRow.id)
        .outerjoin(UploadChunkRow, UploadChunkRow.upload_id == UploadRow.id)
        .filter(UploadRow.status == UploadStatus.OPEN)
        .group_by(UploadRow.id)
        .having(last < utc_now() - older_than)
    )
    quiet = list(tx.session.scalars(query))
    for upload_id in quiet:
        row = tx.session.get_one(UploadRow, upload_id, with_for_update=True)
        _finish(tx, row, UploadStatus.ABANDONED)
        tx.audit("upload.abandoned", "version", row.version_id, upload=str(upload_id), created_by=row.created_by)
    return quiet


def folder(upload_id: UUID) -> str:
    """Where the chunks lie in the object store."""
    return f"{STAGING}/{upload_id}"


def _check_announced(files: Sequence[AnnouncedFile], max_bytes: int) -> None:
    if not 0 < len(files) <= MAX_FILES:
        raise InvalidInput(f"an upload has 1 to {MAX_FILES:,} files", remedy="Announce the files that will be sent.")
    problems, seen = [], set[str]()
    for number, file in enumerate(files):
        path = f"files.{number}"
        try:
            check_label(file.name)
        except InvalidInput as error:
            problems.append(field_problem(f"{path}.name", error.message, error.remedy))
        if file.name.casefold() in seen:
            problems.append(field_problem(f"{path}.name", "is there twice", "Give every file its own name."))
        if file.size == 0:
            problems.append(field_problem(f"{path}.size", "the file is empty", "Leave it out."))
        seen.add(file.name.casefold())
    if problems:
        raise ValidationFailed("these files cannot be uploaded", details=problems[:50])
    if (total := sum(file.size for file in files)) > max_bytes:
        raise TooLarge(
            f"the files have {total:,} bytes; an upload has at most {max_bytes:,}",
            remedy="Split them into several versions, or raise MAX_UPLOAD_BYTES.",
        )


def _finish(tx: Transaction, row: UploadRow, to: UploadStatus) -> None:
    row.status, row.finished_at = to, utc_now()
    tx.session.execute(delete(UploadChunkRow).filter_by(upload_id=row.id))


def _check_open(row: UploadRow) -> None:
    if row.status != UploadStatus.OPEN:
        raise Conflict(f"this upload is {row.status}", remedy="Begin a new one with the same files.")


def _check_offset(file: UploadFileRow, offset: int) -> None:
    if offset != file.received:
        raise Conflict(
            f"file {file.number} has {file.received} bytes here, so a chunk at offset {offset} does not fit",
            remedy=f"Go on at offset {file.received}.",
        )


def _is_there(tx: Transaction, file: UploadFileRow, offset: int, sha256: str) -> bool:
    chunk = tx.session.get(UploadChunkRow, (file.upload_id, file.number, offset))
    return chunk is not None and chunk.sha256 == sha256


def _rows(tx: Transaction, version_id: UUID, status: UploadStatus) -> Sequence[UploadRow]:
    query = select(UploadRow).filter_by(version_id=version_id, status=status).order_by(UploadRow.created_at)
    return tx.session.scalars(query).all()


def _load(tx: Transaction, version_id: UUID, kind: Kind, upload_id: UUID, *, lock: bool = False) -> UploadRow:
    versions.get(tx, version_id, kind)
    row = tx.session.get(UploadRow, upload_id, with_for_update=lock or None)
    if row is None or row.version_id != version_id:
        raise NotFound(f"there is no upload {upload_id} of this version", remedy="Begin one with POST …/uploads.")
    return row


def _file(tx: Transaction, upload_id: UUID, number: int) -> UploadFileRow:
    row = tx.session.get(UploadFileRow, (upload_id, number))
    if row is None:
        raise NotFound(f"this upload has no file {number}", remedy="Files are numbered from 1 as they were announced.")
    return row


def _files(tx: Transaction, upload_id: UUID) -> Sequence[UploadFileRow]:
    query = select(UploadFileRow).filter_by(upload_id=upload_id).order_by(UploadFileRow.number)
    return tx.session.scalars(query).all()


def _chunks(tx: Transaction, upload_id: UUID) -> Sequence[UploadChunkRow]:
    order = (UploadChunkRow.number, UploadChunkRow.start)
    return tx.session.scalars(select(UploadChunkRow).filter_by(upload_id=upload_id).order_by(*order)).all()


def _file_value(row: UploadFileRow) -> UploadFile:
    return UploadFile(number=row.number, name=row.name, size=row.size, sha256=row.sha256, offset=row.received)


def _value(tx: Transaction, row: UploadRow, kind: Kind) -> Upload:
    return Upload(
        id=row.id,
        version_id=row.version_id,
        kind=kind,
        status=UploadStatus(row.status),
        chunk_size=row.chunk_size,
        created_by=row.created_by,
        created_at=row.created_at,
        files=tuple(_file_value(file) for file in _files(tx, row.id)),
    )


def _state(tx: Transaction, row: UploadRow, kind: Kind) -> UploadState:
    chunks = tuple(
        ReceivedChunk(file=chunk.number, offset=chunk.start, size=chunk.size, sha256=chunk.sha256)
        for chunk in _chunks(tx, row.id)
    )
    return UploadState(**dict(_value(tx, row, kind)), chunks=chunks)
