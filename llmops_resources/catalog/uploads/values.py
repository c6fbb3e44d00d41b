"""What an upload in chunks is described with."""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import Field

from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.values import Value

#: A file may not arrive in more chunks than this; the advertised chunk size keeps far below it.
MAX_CHUNKS: Final = 10_000
#: The longest chunk that is taken, in bytes; a chunk that breaks off is sent again as a whole.
MAX_CHUNK_BYTES: Final = 256 * 1024**2


class UploadStatus(StrEnum):
    """`open` until the files were published, were refused, or the upload was cancelled or left alone too long."""

    OPEN = "open"
    COMPLETE = "complete"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


class AnnouncedFile(Value):
    """A file that is going to be sent: name, size in bytes, and the hex SHA-256 if the sender knows it already."""

    name: str = Field(min_length=1, max_length=1000)
    size: int = Field(ge=0)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class UploadFile(Value):
    """An announced file, and the offset of the next byte that is wanted."""

    number: int
    name: str
    size: int
    sha256: str | None
    offset: int


class Upload(Value):
    """An upload in chunks; `chunk_size` is what a sender should use, in bytes."""

    id: UUID
    version_id: UUID
    kind: Kind
    status: UploadStatus
    chunk_size: int
    created_by: str
    created_at: datetime
    files: tuple[UploadFile, ...]


class ReceivedChunk(Value):
    """A chunk that is there: sizes in bytes, and the hex SHA-256 by which a sender knows its own bytes again."""

    file: int
    offset: int
    size: int
    sha256: str


class UploadState(Upload):
    """An upload with the chunks that have arrived."""

    chunks: tuple[ReceivedChunk, ...]
