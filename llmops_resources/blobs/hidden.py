"""Large objects of an S3 that are in the store and that nobody sees: multipart uploads, completed when published.

See "Uploading and copying objects using multipart upload" in the S3 user guide: before it is completed, an upload is in
no listing and under no key. What a process that dies leaves is such an upload; `Composer.abort_old` ends it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from llmops_resources.blobs.compose import MOST_PARTS, Composer, Part, Unfinished
from llmops_resources.errors import TooLarge

PART_BYTES: Final = 8 * 1024**2
#: Parts in memory: on their way, and the one being filled.
_AT_ONCE: Final = 4


@dataclass
class Hidden:
    """All bytes of the object `upload.key`, `size` of them, in the store and not yet visible."""

    composer: Composer
    upload: Unfinished
    parts: tuple[Part, ...]
    size: int
    over: bool = False  # visible, or given up

    def appear(self) -> None:
        """Make it the object, whole and at once. Raises Unavailable; what is visible then is what was before."""
        self.composer.finish(self.upload, self.parts)
        self.over = True

    def forget(self) -> None:
        """Drop the bytes, if the store can be reached; once it has appeared there is nothing to do."""
        if not self.over:
            self.composer.abort(self.upload)
            self.over = True


class Parts(Iterator[bytearray]):
    """The bytes of `chunks` in parts of PART_BYTES, the last one shorter; none for no bytes.

    A part that was given back is filled again, so that memory does not grow with what is sent.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest = iter(chunks), memoryview(b"")
        self._spare: list[bytearray] = []

    def __next__(self) -> bytearray:
        """The next part."""
        part, filled = self._spare.pop() if self._spare else bytearray(PART_BYTES), 0
        with memoryview(part) as room:
            while filled < PART_BYTES:
                if not self._rest:
                    chunk = next(self._chunks, None)
                    if chunk is None:
                        break
                    self._rest = memoryview(chunk)
                taken = min(PART_BYTES - filled, len(self._rest))
                room[filled : filled + taken] = self._rest[:taken]
                self._rest, filled = self._rest[taken:], filled + taken
        if not filled:
            raise StopIteration
        del part[filled:]
        return part

    def give_back(self, part: bytearray) -> None:
        """Nobody reads this part any more."""
        if len(part) == PART_BYTES:
            self._spare.append(part)


def hide(
    composer: Composer, key: str, parts: Iterable[bytearray], done: Callable[[bytearray], object]
) -> Hidden:
    """Send the parts, several at once and while the next are read; each is `done` with afterwards.

    Raises Unavailable, TooLarge for more parts than an object has, and what `parts` raises; nothing stays then.
    """
    upload = composer.begin(key)
    try:
        sent, size = _sent(composer, upload, parts, done)
    except BaseException:
        composer.abort(upload)
        raise
    return Hidden(composer, upload, tuple(sent), size)


def _sent(
    composer: Composer, upload: Unfinished, parts: Iterable[bytearray], done: Callable[[bytearray], object]
) -> tuple[list[Part], int]:
    sent: list[Part] = []
    underway: deque[tuple[Future[Part], bytearray]] = deque()
    size = 0
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="parts") as senders:
        try:
            for number, part in enumerate(parts, start=1):
                if number > MOST_PARTS:
                    raise TooLarge(
                        f"{upload.key} has more than {MOST_PARTS * PART_BYTES:,} bytes, which an object of S3 takes",
                        remedy="Split it: save_pretrained(max_shard_size=…) writes weights in several files.",
                    )
                size += len(part)
                underway.append((senders.submit(composer.send_part, upload, number, part), part))
                if len(underway) >= _AT_ONCE:
                    first, content = underway.popleft()
                    sent.append(first.result())
                    done(content)
            sent += [future.result() for future, _content in underway]
        except BaseException:
            senders.shutdown(cancel_futures=True)
            raise
    return sent, size
