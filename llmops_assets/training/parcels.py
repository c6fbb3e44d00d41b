"""Folders over links: packed into parts and sent, fetched and unpacked; a folder arrives whole or not at all."""

import hashlib
import http.client
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Final, cast

from pydantic import ValidationError

from llmops_resources.errors import Conflict, NotFound, TooLarge, Unavailable
from llmops_resources.training.errand import Index, Input, Parcel

TRIES: Final = 6
SECONDS: Final = 120.0
CHUNK: Final = 1 << 20


def fetch(file: Input, into: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Fetch one file of the inputs. Raises Conflict when its bytes are not the approved ones, Unavailable."""
    target = (into / file.path).resolve()
    if not target.is_relative_to(into.resolve()):
        raise Conflict(f"{file.path} leads out of the work folder", remedy="Tell an operator.")
    target.parent.mkdir(parents=True, exist_ok=True)

    def attempt() -> None:
        digest = hashlib.sha256()
        with closing(_open("GET", file.url)) as answer, target.open("wb") as out:
            while chunk := answer.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise Conflict(f"the bytes of {file.path} are not those that were approved", remedy="Upload it again.")

    _retried(attempt, sleep)


def send(parcel: Parcel, folder: Path, serial: int, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Send a folder; until the last request it is not there. Raises TooLarge, Unavailable."""
    parts: list[tuple[str, int]] = []
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for number, part in enumerate(_packed(folder, Path(scratch), parcel.part_bytes)):
            if number >= len(parcel.put_parts):
                raise TooLarge("the model is larger than a parcel", remedy="Train it on one node.")
            digest = _digest(part)
            _put(parcel.put_parts[number], part, sleep)
            parts.append((digest, part.stat().st_size))
            part.unlink()
        index = Path(scratch) / "index.json"
        index.write_text(Index(serial=serial, parts=tuple(parts)).model_dump_json(by_alias=True))
        _put(parcel.put_index, index, sleep)


def read_index(parcel: Parcel, *, sleep: Callable[[float], None] = time.sleep) -> Index | None:
    """What a parcel holds, or None when it holds nothing."""
    if parcel.get_index is None:
        return None
    link = parcel.get_index
    try:
        return Index.model_validate_json(_retried(lambda: _all(link), sleep))
    except (NotFound, ValidationError):
        return None


def receive(parcel: Parcel, index: Index, into: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Unpack a parcel into the new folder `into`. Raises Conflict when a part is not the one its index names."""

    def chunks() -> Iterator[bytes]:
        with tempfile.TemporaryDirectory(dir=into.parent) as scratch:
            for number, (digest, size) in enumerate(index.parts):
                part = Input(path=str(number), url=parcel.get_parts[number], size=size, sha256=digest)
                fetch(part, Path(scratch), sleep=sleep)
                yield from _chunks(Path(scratch) / str(number))
                (Path(scratch) / str(number)).unlink()

    unpack(chunks(), into)


def unpack(chunks: Iterable[bytes], into: Path) -> None:
    """Unpack a tar archive into the new folder `into`, which appears when it is complete. Raises Conflict."""
    part = into.with_name(f".{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Stream(chunks)), mode="r|") as archive:
            archive.extractall(part, filter="data")  # no links out, no devices, no foreign owners
        part.rename(into)
    except (tarfile.TarError, EOFError) as error:
        raise Conflict(f"the archive is damaged: {error}", remedy="Retry the job.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


class _Stream:
    """Chunks as a file that can only be read on."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest = iter(chunks), b""

    def read(self, size: int) -> bytes:
        """`size` bytes, or fewer at the end."""
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


class _Parts:
    """A file that is cut into files of at most `limit` bytes as it is written."""

    def __init__(self, scratch: Path, limit: int) -> None:
        self._scratch, self._limit, self._number = scratch, limit, 0
        self._file: IO[bytes] | None = None
        self.full: list[Path] = []

    def write(self, data: bytes) -> int:
        """Takes everything."""
        rest = memoryview(data)
        while rest:
            if self._file is None:
                self._path = self._scratch / f"part-{self._number}"
                self._file, self._number = self._path.open("wb"), self._number + 1
            taken = rest[: self._limit - self._file.tell()]
            self._file.write(taken)
            rest = rest[len(taken) :]
            if self._file.tell() >= self._limit:
                self.cut()
        return len(data)

    def cut(self) -> None:
        """End the present part."""
        if self._file is not None:
            self._file.close()
            self.full.append(self._path)
            self._file = None


def _packed(folder: Path, scratch: Path, limit: int) -> Iterator[Path]:
    parts = _Parts(scratch, limit)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", parts), mode="w|") as archive:
            for path in sorted(folder.rglob("*")):
                archive.add(path, arcname=str(path.relative_to(folder)), recursive=False)
                while parts.full:
                    yield parts.full.pop(0)
    finally:
        parts.cut()
    yield from parts.full


def _put(url: str, path: Path, sleep: Callable[[float], None]) -> None:
    def attempt() -> None:
        with path.open("rb") as body, closing(_open("PUT", url, body, path.stat().st_size)):
            pass

    _retried(attempt, sleep)


def _all(url: str) -> bytes:
    with closing(_open("GET", url)) as answer:
        data: bytes = answer.read(CHUNK)
        return data


def _open(method: str, url: str, body: IO[bytes] | None = None, length: int = 0) -> Any:
    request = urllib.request.Request(url, data=body, method=method)  # noqa: S310  - a link of our own store
    if body is not None:
        request.add_header("Content-Length", str(length))
        request.add_header("Content-Type", "application/octet-stream")
    return urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310


def _retried(attempt: Callable[[], Any], sleep: Callable[[float], None]) -> Any:
    for number in range(1, TRIES + 1):
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                raise NotFound("there is no such object", remedy="Nothing to do.") from None
            if number == TRIES or error.code in {400, 401, 403, 405, 413}:
                raise Unavailable(
                    f"the object store answered {error.code}", remedy="Its links may have expired: retry the job."
                ) from None
        except (OSError, http.client.HTTPException) as error:
            if number == TRIES:
                reason = str(error)[:200]
                raise Unavailable(f"the object store cannot be reached: {reason}", remedy="Retry the job.") from None
        sleep(min(0.5 * 2**number, 20.0))
    raise AssertionError  # pragma: no cover


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
