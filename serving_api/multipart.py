"""multipart/form-data as a stream of files (RFC 7578): bytes go from the socket to their reader, through no file."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from llmops_resources.errors import InvalidInput, UnsupportedFormat

#: The one form field an upload consists of; it may be repeated.
FIELD: Final = "files"
MAX_FILES: Final = 2_000
_LONGEST_BOUNDARY: Final = 70  # RFC 2046, section 5.1.1
_AS_IT_IS: Final = frozenset({b"7bit", b"8bit", b"binary"})
_REMEDY: Final = "Send multipart/form-data with one field `files` for each file, each with a file name."

#: The request body as OpenAPI describes it.
DESCRIPTION: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                            "title": "Files",
                        }
                    },
                }
            }
        },
    }
}


def boundary_of(content_type: str | None) -> bytes:
    """The boundary a Content-Type names. Raises UnsupportedFormat for another type, InvalidInput for a bad boundary."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise UnsupportedFormat("the request body is not multipart/form-data", remedy=_REMEDY)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise InvalidInput("the multipart boundary is missing or longer than 70 characters", remedy=_REMEDY)
    return boundary


def read_files(body: Iterator[bytes], boundary: bytes) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and bytes of each file, as they arrive; what a caller leaves unread of a file is skipped.

    Raises InvalidInput for a body that is not well-formed, ends early, or has other fields than `files`.
    """
    form = _Form(body, boundary)
    while (name := form.next_file()) is not None:
        yield name, form.content()
        for _ in form.content():
            pass


class _Form:
    """Drives the parser over the body, and hands out what it reports one event at a time."""

    def __init__(self, body: Iterator[bytes], boundary: bytes) -> None:
        self._body = body
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )
        self._events: deque[str | bytes | None] = deque()  # a file's name, its bytes, None where it ends
        self._files = 0
        self._ended = False
        self._begin()

    def next_file(self) -> str | None:
        """The name of the file that begins next, or None after the last one."""
        event = self._next()
        assert event is None or isinstance(event, str)  # noqa: S101  files are read to their end
        return event

    def content(self) -> Iterator[bytes]:
        """The bytes of the file that has begun."""
        while isinstance(event := self._next(peek=True), bytes):
            self._events.popleft()
            yield event
        if event is None and self._events:
            self._events.popleft()

    def _next(self, *, peek: bool = False) -> str | bytes | None:
        while not self._events:
            piece = next(self._body, None)
            if piece is None:
                if not self._ended:
                    raise InvalidInput("the body ends before its last multipart boundary", remedy=_REMEDY)
                return None
            try:
                self._parser.write(piece)
            except MultipartParseError as error:
                raise InvalidInput(f"the body is not well-formed multipart: {error}", remedy=_REMEDY) from None
        return self._events[0] if peek else self._events.popleft()

    def _begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        name = self._name.lower()
        if name in self._headers:
            raise InvalidInput("a part has the same header twice", remedy=_REMEDY)
        self._headers[name] = self._value
        self._name, self._value = b"", b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        field, name = options.get(b"name", b""), options.get(b"filename")
        if kind != b"form-data" or field != FIELD.encode() or name is None:
            raise InvalidInput("the form has a field that is not a file called `files`", remedy=_REMEDY)
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in _AS_IT_IS:
            raise InvalidInput("a part is encoded for mail, which RFC 7578 does not allow", remedy=_REMEDY)
        self._files += 1
        if self._files > MAX_FILES:
            raise InvalidInput(f"the form has more than {MAX_FILES:,} files", remedy="Upload fewer files at once.")
        try:
            self._events.append(name.decode())
        except UnicodeDecodeError:
            raise InvalidInput("a file name is not UTF-8", remedy="Rename the file, then send it again.") from None

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _part_end(self) -> None:
        self._events.append(None)

    def _end(self) -> None:
        self._ended = True
