"""Sending files: small ones in one request, large ones in chunks that are taken up where they stopped.

Nothing is remembered on this machine. The platform answers with the open upload of the same files, and the digests of
the chunks it has tell whether the files here are still the ones that were being sent.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

from llmops_cli.api import Api, Refused
from llmops_resources.errors import Conflict, InvalidInput, Unavailable

#: Files of more bytes than this altogether go in chunks.
WHOLE: Final = 32 * 1024**2
TRIES: Final = 6
COMPLETING_SECONDS: Final = 3600.0
Advance = Callable[[int], None]


def send(api: Api, path: str, files: Sequence[Path], advance: Advance) -> Any:
    """Upload the files to the entry at `path`; the entry afterwards. `advance` is told about bytes that are there.

    Raises InvalidInput for unreadable files, Refused by the platform, Unavailable when it stays away for a minute;
    then the same command goes on where this one stopped.
    """
    sizes = [_size(file) for file in files]
    if sum(sizes) <= WHOLE:
        return api.upload(f"{path}/upload", files, advance)
    announced = [{"name": file.name, "size": size} for file, size in zip(files, sizes, strict=True)]
    upload = _begin(api, path, announced, files)
    advance(sum(file["offset"] for file in upload["files"]))
    place = f"{path}/uploads/{upload['id']}"
    while True:
        for file in upload["files"]:
            _send_file(api, place, file, files[file["number"] - 1], upload["chunkSize"], advance)
        if (done := _complete(api, place)) is not None:
            return done
        upload = api.get(place)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}", remedy="Check the path.") from error


def _begin(api: Api, path: str, announced: list[dict[str, Any]], files: Sequence[Path]) -> Any:
    upload = api.post(f"{path}/uploads", {"files": announced})
    if all(_is_same(files[chunk["file"] - 1], chunk) for chunk in upload["chunks"]):
        return upload
    api.delete(f"{path}/uploads/{upload['id']}")  # a file changed since then, and kept its size
    return api.post(f"{path}/uploads", {"files": announced})


def _is_same(file: Path, chunk: Any) -> bool:
    with file.open("rb") as stream:
        stream.seek(chunk["offset"])
        return hashlib.sha256(stream.read(chunk["size"])).hexdigest() == str(chunk["sha256"])


def _send_file(api: Api, path: str, file: Any, source: Path, size: int, advance: Advance) -> None:
    """Send what is missing of a file; the next chunk is read and hashed while one is on its way."""
    offset = file["offset"]
    while offset < file["size"]:
        with source.open("rb") as stream, ThreadPoolExecutor(1) as reader:
            stream.seek(offset)
            for content, digest in _chunks(stream, size, reader):
                wanted = _send_chunk(api, path, file["number"], offset, content, digest)
                advance(wanted - offset)
                if wanted != offset + len(content):  # somebody else sends the same upload, or an answer was lost
                    offset = wanted
                    break
                offset = wanted
            else:
                if offset < file["size"]:
                    raise Conflict(f"{source} became shorter while it was sent", remedy="Send it again.")


def _chunks(stream: BinaryIO, size: int, reader: ThreadPoolExecutor) -> Iterator[tuple[bytes, str]]:
    def read() -> tuple[bytes, str]:
        content = stream.read(size)
        return content, base64.b64encode(hashlib.sha256(content).digest()).decode()

    following = reader.submit(read)
    while (chunk := following.result())[0]:
        following = reader.submit(read)
        yield chunk


def _send_chunk(api: Api, path: str, number: int, offset: int, content: bytes, digest: str) -> int:
    """The offset the platform wants next. A broken connection is tried again for about a minute."""
    for attempt in range(TRIES):
        try:
            answer = api.put(f"{path}/files/{number}", content, digest=f"sha-256=:{digest}:", offset=offset)
        except Unavailable:
            if attempt == TRIES - 1:
                raise
            time.sleep(2**attempt)
        except Refused as error:
            if error.status not in {409, 429, 503}:
                raise
            standing = api.get(path)
            if standing["status"] != "open" or attempt == TRIES - 1:
                raise
            if (wanted := _offset_of(standing, number)) != offset:
                return wanted
            time.sleep(2**attempt)
        else:
            return _offset_of(answer, number)
    raise AssertionError("the last attempt returns or raises")


def _offset_of(upload: Any, number: int) -> int:
    return next(int(file["offset"]) for file in upload["files"] if file["number"] == number)


def _complete(api: Api, path: str) -> Any:
    """Have the files published. While an earlier request is still at it, ask again until it is done.

    None when the platform wants bytes again, since its machine lost them.
    """
    deadline = time.monotonic() + COMPLETING_SECONDS
    while True:
        try:
            return api.post(f"{path}/complete", timeout=COMPLETING_SECONDS)
        except Refused as error:
            if error.status != 409 or time.monotonic() > deadline:
                raise
            standing = api.get(path)
            if standing["status"] != "open":
                raise
            if any(file["offset"] < file["size"] for file in standing["files"]):
                return None
            time.sleep(1)
