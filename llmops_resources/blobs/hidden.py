"""Large objects of an S3 that are in the store and that nobody sees: multipart uploads, completed when published.

See "Uploading and copying objects using multipart upload" in the S3 user guide: before it is completed, an upload is in
no listing and under no key. What a process that dies leaves is such an upload; `Composer.abort_old` ends it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from llmops_resources.blobs.compose import MOST_PARTS, Composer, Part, Unfinished
from llmops_resources.errors import TooLarge

PART_BYTES: Final = 8 * 1024**2
#: Parts on their way at once; that many and the one being filled are in memory.
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


def in_parts(chunks: Iterable[bytes], size: int = PART_BYTES) -> Iterator[bytearray]:
    """The same bytes in parts of `size`, the last one shorter; none for no bytes."""
    part = bytearray()
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            room = size - len(part)
            part += rest[:room]
            rest = rest[room:]
            if len(part) == size:
                yield part
                part = bytearray()
    if part:
        yield part


def hide(composer: Composer, key: str, parts: Iterable[bytearray]) -> Hidden:
    """Send the parts, several at once and while the next are read.

    Raises Unavailable, TooLarge for more parts than an object has, and what `parts` raises; nothing stays then.
    """
    upload = composer.begin(key)
    try:
        sent, size = _sent(composer, upload, parts)
    except BaseException:
        composer.abort(upload)
        raise
    return Hidden(composer, upload, tuple(sent), size)


def _sent(composer: Composer, upload: Unfinished, parts: Iterable[bytearray]) -> tuple[list[Part], int]:
    sent: list[Part] = []
    underway: deque[Future[Part]] = deque()
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
                underway.append(senders.submit(composer.send_part, upload, number, part))
                if len(underway) >= _AT_ONCE:
                    sent.append(underway.popleft().result())
            sent += [future.result() for future in underway]
        except BaseException:
            senders.shutdown(cancel_futures=True)
            raise
    return sent, size
