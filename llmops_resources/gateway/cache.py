"""Remembered answers: equal calls of one tenant to one served version get the bytes of the first, for a while."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 64 * 1024**2
_LARGEST: Final = 1024**2


@dataclass(frozen=True)
class _Kept:
    body: bytes
    until: float


class Cache:
    """Least recently used answers go first when there are too many bytes. `now`: a clock that never goes back."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def find(self, key: bytes, now: float) -> bytes | None:
        """The answer under a key, if it is still good."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.until <= now:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept.body

    def keep(self, key: bytes, body: bytes, now: float, seconds: float) -> None:
        """Remember an answer; one that is too large is not."""
        if len(body) > min(_LARGEST, self._most):
            return
        self._drop(key)
        self._kept[key] = _Kept(body, now + seconds)
        self._bytes += len(body)
        while self._bytes > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept.body)


def key_of(*parts: str | bytes) -> bytes:
    """A key for exactly these parts: SHA-256 over each with its length, so that none runs into another."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8) + data)
    return digest.digest()
