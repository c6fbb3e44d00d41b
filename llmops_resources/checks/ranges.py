"""A stored file read by ranges, as a file object: what is not asked for is never fetched."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_AHEAD = 256 * 1024

ReadRange = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Source:
    """A file of `size` bytes; `read(offset, length)` gives at most `length` of them."""

    size: int
    read: ReadRange

    @classmethod
    def of_path(cls, path: Path) -> "Source":
        """A local file."""

        def read(offset: int, length: int) -> bytes:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(length)

        return cls(path.stat().st_size, read)

    def open(self) -> io.BufferedReader:
        """The bytes from the start, in pieces of 256 KiB; seeking reads nothing."""
        return io.BufferedReader(_Ranged(self), _AHEAD)


class _Ranged(io.RawIOBase):
    def __init__(self, source: Source) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._source.read(self._at, len(buffer))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
