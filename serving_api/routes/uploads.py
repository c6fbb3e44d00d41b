"""Uploading, the same for data sets and models: all in one request, or in chunks that can be taken up again."""

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import Field

from llmops_resources.catalog.airlock.names import MAX_FILES
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.uploads import sessions
from llmops_resources.catalog.uploads.values import MAX_CHUNK_BYTES, AnnouncedFile, Upload, UploadState
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.governance.permissions import Permission
from serving_api import content_digest, multipart, paging, uploads
from serving_api.bodies import Uploads
from serving_api.dependencies import Cursor, Doors, IdempotencyKey, Limit, Requires, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

#: What the boundaries and headers of a form may add to the bytes of its files.
_FORM_BYTES = 16 * 1024**2
_NO_BODY = 64 * 1024  # a client may send `{}`
_CHUNK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class UploadBegin(Body):
    """The files that are going to be sent, in the order in which they are numbered from 1."""

    files: list[AnnouncedFile] = Field(min_length=1, max_length=MAX_FILES)


def uploads_of(request: Request) -> Uploads:
    """The places for uploads of this process."""
    places: Uploads = request.app.state.uploads
    return places


Places = Annotated[Uploads, Depends(uploads_of)]


def add_upload_routes(router: APIRouter, kind: Kind, *, writer: Permission) -> None:
    """`upload` and `uploads` below `/{<kind>_id}`, for those who have `writer`."""
    _add_whole(router, kind, Requires(writer))
    _add_sessions(router, kind, Requires(writer))
    _add_sending(router, kind, Requires(writer))


def _add_whole(router: APIRouter, kind: Kind, writes: Requires) -> None:
    identified = Path(alias=f"{kind}_id")

    @router.post(f"/{{{kind}_id}}/upload", name=f"upload_{kind}", openapi_extra=multipart.DESCRIPTION)
    async def upload(
        platform: Doors,
        actor: Annotated[Actor, Depends(writes)],
        entry_id: Annotated[UUID, identified],
        request: Request,
        places: Places,
    ) -> Envelope[Version]:
        """Take in all files of a version in one request; the same files again change nothing."""
        boundary = multipart.boundary_of(request.headers.get("content-type"))

        def take_in(body: Iterator[bytes]) -> tuple[Version, str]:
            return uploads.take_in(platform, actor, kind, entry_id, multipart.read_files(body, boundary))

        return ok(*await places.take(request, take_in, max_bytes=platform.settings.max_upload_bytes + _FORM_BYTES))


def _add_sessions(router: APIRouter, kind: Kind, writes: Requires) -> None:
    entry, identified = f"/{{{kind}_id}}/uploads", Path(alias=f"{kind}_id")
    reads = Requires(Permission.CATALOG_READ)

    @router.post(entry, name=f"begin_{kind}_upload")
    def begin(
        platform: Doors,
        actor: Annotated[Actor, Depends(writes)],
        entry_id: Annotated[UUID, identified],
        request: Request,
        body: UploadBegin,
        key: IdempotencyKey = None,
    ) -> Envelope[UploadState]:
        """Begin an upload in chunks. An open upload of exactly these files is answered instead, to be taken up."""
        uploads.check_names(kind, body.files)
        chunk_size, most = platform.settings.upload_chunk_bytes, platform.settings.max_upload_bytes
        answer = create_once(
            platform,
            actor,
            request,
            key,
            body.model_dump_json(),
            lambda tx: sessions.begin(tx, entry_id, kind, body.files, chunk_size=chunk_size, max_bytes=most),
        )
        return ok(answer, "send the files in chunks, then complete the upload")

    @router.get(entry, name=f"list_{kind}_uploads")
    def list_open(
        platform: Doors,
        actor: Annotated[Actor, Depends(reads)],
        entry_id: Annotated[UUID, identified],
        response: Response,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Envelope[list[Upload]]:
        """The uploads of a version that are not finished, newest first."""
        key = platform.settings.signing_key()
        with platform.transaction(actor) as tx:
            page = sessions.search(tx, entry_id, kind, after=paging.decode(cursor, key), limit=limit)
        return ok(paging.send(response, page, key))

    @router.get(f"{entry}/{{upload_id}}", name=f"get_{kind}_upload")
    def get(
        platform: Doors,
        actor: Annotated[Actor, Depends(reads)],
        entry_id: Annotated[UUID, identified],
        upload_id: UUID,
    ) -> Envelope[UploadState]:
        """Where each file stands, and the digests of the chunks that have arrived."""
        with platform.transaction(actor) as tx:
            return ok(sessions.get(tx, entry_id, kind, upload_id))

    @router.delete(f"{entry}/{{upload_id}}", name=f"cancel_{kind}_upload")
    def cancel(
        platform: Doors,
        actor: Annotated[Actor, Depends(writes)],
        entry_id: Annotated[UUID, identified],
        upload_id: UUID,
    ) -> Envelope[Upload]:
        """Give an upload up; its bytes are deleted."""
        return ok(uploads.cancel(platform, actor, (entry_id, kind, upload_id)), "the upload was cancelled")


def _add_sending(router: APIRouter, kind: Kind, writes: Requires) -> None:
    one, identified = f"/{{{kind}_id}}/uploads/{{upload_id}}", Path(alias=f"{kind}_id")

    @router.put(f"{one}/files/{{file}}", name=f"send_{kind}_chunk", openapi_extra=_CHUNK_BODY)
    async def send_chunk(
        platform: Doors,
        actor: Annotated[Actor, Depends(writes)],
        entry_id: Annotated[UUID, identified],
        upload_id: UUID,
        file: Annotated[int, Path(ge=1, le=MAX_FILES)],
        offset: Annotated[int, Query(ge=0, le=2**62, description="the byte of the file with which the chunk begins")],
        request: Request,
        places: Places,
        digest: Annotated[str | None, Header(alias="Content-Digest", description="RFC 9530, sha-256")] = None,
    ) -> Envelope[Upload]:
        """Send the next chunk of a file as the raw body. The same chunk again is harmless; another offset is a 409."""
        sha256, where = content_digest.sha256_of(digest), (entry_id, kind, upload_id)

        def receive(body: Iterator[bytes]) -> Upload:
            return uploads.receive_chunk(
                platform, actor, where, body, places.digests, file=file, offset=offset, sha256=sha256
            )

        return ok(await places.take(request, receive, max_bytes=MAX_CHUNK_BYTES))

    @router.post(f"{one}/complete", name=f"complete_{kind}_upload")
    async def complete(
        platform: Doors,
        actor: Annotated[Actor, Depends(writes)],
        entry_id: Annotated[UUID, identified],
        upload_id: UUID,
        request: Request,
        places: Places,
    ) -> Envelope[Version]:
        """Check and publish what was sent. Safe to repeat; while another request is at it, a repeat is a 409."""

        def put_together(_body: Iterator[bytes]) -> tuple[Version, str]:
            return uploads.complete(platform, actor, (entry_id, kind, upload_id), places.digests)

        return ok(*await places.take(request, put_together, max_bytes=_NO_BODY))
