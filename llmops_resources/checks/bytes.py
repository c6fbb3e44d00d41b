"""One pass over the bytes of an upload, while they stream by: what no parser should ever have to meet."""

import codecs

from llmops_resources.checks.formats import PARQUET_MAGIC, DatasetFormat, shown
from llmops_resources.errors import InvalidInput, PlatformError, TooLarge
from llmops_resources.values import Value

DEFAULT_MAX_LINE_BYTES = 16 * 1024**2
_SMALLEST_PARQUET = 12  # magic, footer length, magic


class ByteFigures(Value):
    """What the pass counted: `size` in bytes, `lines` as the number of lines (0 for Parquet)."""

    size: int
    lines: int


class ByteInspector:
    """Checks the bytes of one file chunk by chunk, in constant memory; the verdict does not depend on the chunking.

    CSV and JSONL: valid UTF-8, no NUL, no line over `max_line_bytes`, line ends other than a lone CR, not empty.
    Parquet: both magics and a footer length that fits (a truncated file fails this).
    A problem is raised as soon as it is certain, so that an upload can be cut short.
    """

    def __init__(self, name: str, fmt: DatasetFormat, *, max_line_bytes: int = DEFAULT_MAX_LINE_BYTES) -> None:
        self._label = shown(name)
        self._fmt = fmt
        self._max_line = max_line_bytes
        self._size = 0
        self._feed = self._feed_parquet if fmt is DatasetFormat.PARQUET else self._feed_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._newlines = 0
        self._returns = 0
        self._line_start = 0
        self._too_long_at: int | None = None
        self._head = b""
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Inspect the next bytes. Raises InvalidInput with byte offset and line number, or TooLarge for a long line."""
        if chunk:
            self._feed(chunk)
            self._size += len(chunk)

    def finish(self) -> ByteFigures:
        """The figures, once everything was fed. Raises InvalidInput for what only the end can tell."""
        if not self._size:
            raise InvalidInput(f"{self._label} is empty", remedy="Upload a file with at least one row.")
        if self._fmt is DatasetFormat.PARQUET:
            self._finish_parquet()
            return ByteFigures(size=self._size, lines=0)
        pending = len(self._decoder.getstate()[0])
        if pending:
            raise self._not_utf8(self._size - pending, self._newlines + 1)
        if self._too_long_at is not None:
            raise self._too_long(self._newlines + 1)
        if self._returns and not self._newlines:
            raise InvalidInput(
                f"{self._label} ends its lines with a lone carriage return (CR)",
                remedy="Save the file with line feed (LF) or CR LF line ends.",
            )
        return ByteFigures(size=self._size, lines=self._newlines + (self._line_start < self._size))

    def _feed_text(self, chunk: bytes) -> None:
        pending = len(self._decoder.getstate()[0])
        problems: list[tuple[int, PlatformError]] = []
        try:
            self._decoder.decode(chunk)
        except UnicodeDecodeError as error:
            at = self._size - pending + error.start
            problems.append((at, self._not_utf8(at, self._line_of(chunk, at))))
        nul = chunk.find(b"\x00")
        if nul >= 0:
            at = self._size + nul
            problems.append((at, self._nul(at, self._line_of(chunk, at))))
        self._walk_lines(chunk)
        # Bytes still waiting for the rest of their character may yet prove to be the earlier problem.
        decided = self._size + len(chunk) - len(self._decoder.getstate()[0])
        if self._too_long_at is not None and (problems or self._too_long_at < decided):
            problems.append((self._too_long_at, self._too_long(self._line_of(chunk, self._too_long_at))))
        if problems:
            raise min(problems, key=lambda problem: problem[0])[1]
        self._newlines += chunk.count(b"\n")
        self._returns += chunk.count(b"\r")

    def _walk_lines(self, chunk: bytes) -> None:
        """Advance to the start of the last line, in steps as long as a line may be."""
        end = self._size + len(chunk)
        while self._too_long_at is None:
            limit = self._line_start + self._max_line
            newline = chunk.rfind(b"\n", max(self._line_start - self._size, 0), max(limit + 1 - self._size, 0))
            if newline >= 0:
                self._line_start = self._size + newline + 1
            elif limit < end:
                self._too_long_at = limit
            else:
                return

    def _line_of(self, chunk: bytes, offset: int) -> int:
        return self._newlines + chunk.count(b"\n", 0, max(offset - self._size, 0)) + 1

    def _not_utf8(self, offset: int, line: int) -> InvalidInput:
        return InvalidInput(
            f"{self._label} is not valid UTF-8 at byte {offset} (line {line})",
            remedy="Save the file as UTF-8; it may be in another encoding, such as CP949 or Latin-1.",
        )

    def _nul(self, offset: int, line: int) -> InvalidInput:
        return InvalidInput(
            f"{self._label} has a NUL byte at byte {offset} (line {line})",
            remedy="Remove NUL bytes; a text file has none, so the file may be binary or damaged.",
        )

    def _too_long(self, line: int) -> TooLarge:
        return TooLarge(
            f"Line {line} of {self._label} is longer than {self._max_line} bytes",
            remedy="Split the record, or check for a missing line end or an unclosed quote.",
        )

    def _feed_parquet(self, chunk: bytes) -> None:
        if len(self._head) < 4:
            self._head = (self._head + chunk[:4])[:4]
        self._tail = (self._tail + chunk[-8:])[-8:]

    def _finish_parquet(self) -> None:
        footer = int.from_bytes(self._tail[:4], "little")
        complete = self._head == self._tail[-4:] == PARQUET_MAGIC and self._size >= _SMALLEST_PARQUET
        if not complete or footer > self._size - _SMALLEST_PARQUET:
            raise InvalidInput(
                f"{self._label} is a truncated or damaged Parquet file: its footer is missing",
                remedy="Write the file again and make sure that the writer was closed, then upload it whole.",
            )
