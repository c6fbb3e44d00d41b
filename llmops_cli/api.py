"""The HTTP client: envelopes in, data out; a refusal becomes `Refused` with the server's words and remedy."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx

from llmops_resources.errors import InvalidInput, Unavailable

BASE = "/llm-ops/v1"
Data = Any  # JSON


class Refused(Exception):
    """The API said no: its message, its remedy, and the wrong fields if there are any."""

    def __init__(self, status: int, message: str, remedy: str, details: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.remedy, self.details = status, message, remedy, details


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What was said: the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


class Api:
    """A connection to one platform. All methods raise Refused, or Unavailable when nobody answers."""

    def __init__(self, address: str, *, user: str | None = None, roles: str | None = None) -> None:
        headers = {name: value for name, value in (("X-User-Id", user), ("X-User-Roles", roles)) if value}
        self.address = address
        # localhost may mean ::1 first, where nothing listens
        self._client = httpx.Client(
            base_url=address.replace("//localhost", "//127.0.0.1") + BASE,
            headers=headers,
            timeout=httpx.Timeout(60.0, connect=5.0),
            trust_env=False,
            verify=not address.startswith("http://"),  # what is not used takes 60 ms to load
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._client.close()

    def get(self, path: str, **query: Any) -> Data:
        """GET; query parameters that are None are left out."""
        return self._send("GET", path, params=given(query))

    def fetch(self, path: str, **query: Any) -> bytes:
        """GET a file: what is answered is no envelope, unless it is refused."""
        answer = self._answer("GET", path, params=query)
        if answer.is_error:
            _data(answer)
        return answer.content

    def post(self, path: str, body: Any = None, *, key: str | None = None, timeout: float = 60.0) -> Data:
        """POST JSON, under an idempotency key if given."""
        headers = {"Idempotency-Key": key} if key else None
        return self._send("POST", path, json=body, headers=headers, timeout=httpx.Timeout(timeout, connect=5.0))

    def put(self, path: str, content: bytes, *, digest: str, **query: Any) -> Data:
        """PUT bytes as they are, with their Content-Digest (RFC 9530)."""
        headers = {"Content-Digest": digest, "Content-Type": "application/octet-stream"}
        return self._send("PUT", path, content=content, headers=headers, params=query)

    def replace(self, path: str, body: Any) -> Data:
        """PUT JSON."""
        return self._send("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Data:
        """PATCH JSON."""
        return self._send("PATCH", path, json=body)

    def delete(self, path: str) -> Data:
        """DELETE."""
        return self._send("DELETE", path)

    def everything(self, path: str, **query: Any) -> Iterator[Data]:
        """Every entry of a list, page after page."""
        cursor: str | None = None
        while True:
            params = given({**query, "cursor": cursor})
            answer = self._answer("GET", path, params=params)
            yield from _data(answer)
            cursor = answer.headers.get("X-Next-Cursor")
            if cursor is None:
                return

    def upload(self, path: str, files: Sequence[Path], advance: Callable[[int], None]) -> Data:
        """POST files as multipart/form-data, streamed; `advance` is told about bytes as they are read.

        Raises InvalidInput for a file that cannot be read.
        """
        with ExitStack() as stack:
            parts = []
            for file in files:
                try:
                    stream = stack.enter_context(file.open("rb"))
                except OSError as error:
                    raise InvalidInput(f"{file} cannot be read: {error.strerror}", remedy="Check the path.") from error
                parts.append(("files", (file.name, Counted(stream, advance), "application/octet-stream")))
            return self._send("POST", path, files=parts, timeout=600.0)

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Data]:
        """POST and read server-sent events, decoded, until `[DONE]`. Raises Refused when the answer ends before it."""
        try:
            with self._client.stream("POST", path, json=body, timeout=httpx.Timeout(300.0, connect=5.0)) as answer:
                if answer.is_error:
                    answer.read()
                    _data(answer)
                for line in _lines(answer.iter_bytes()):
                    payload = line.removeprefix("data:").strip()
                    if line.startswith("data:"):
                        if payload == "[DONE]":
                            return
                        yield _event(json.loads(payload))
            raise Refused(answer.status_code, "the answer broke off before its end", "Ask again.")
        except httpx.HTTPError as error:
            raise self._silence(error) from error

    def _send(self, method: str, path: str, **request: Any) -> Data:
        return _data(self._answer(method, path, **request))

    def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            raise self._silence(error) from error

    def _silence(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable(
            f"the API at {self.address} does not answer ({error or type(error).__name__})",
            remedy="Start the platform with `llmops up --detach`, or set API_HOST and API_PORT to where it runs.",
        )


class Counted:
    """A file that tells how many bytes were read from it."""

    def __init__(self, stream: BinaryIO, advance: Callable[[int], None]) -> None:
        self._stream, self._advance = stream, advance

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._stream.read(size)
        self._advance(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move in the file."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._stream.tell()

    def fileno(self) -> int:
        """For the client, to learn the size."""
        return self._stream.fileno()


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines of a stream of events. Those of httpx also end where a model says U+2028, in the middle of its words."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in lines)


def _event(event: Data) -> Data:
    """An event, unless it is the failure that ends an answer in its middle."""
    if isinstance(event, dict) and event.get("status") == "fail":
        raise _refusal(502, event)
    return event


def _data(answer: httpx.Response) -> Data:
    try:
        envelope = answer.json()
    except ValueError:
        envelope = None
    if not isinstance(envelope, dict) or "status" not in envelope:
        raise Refused(
            answer.status_code,
            f"{answer.request.url} answered {answer.status_code} with something that is not of this platform",
            "Check API_HOST and API_PORT: another program may listen there.",
        )
    if answer.is_success and envelope["status"] == "success":
        return envelope.get("data")
    raise _refusal(answer.status_code, envelope)


def _refusal(status: int, envelope: Mapping[str, Any]) -> Refused:
    extra = envelope.get("data") or {}
    remedy = str(extra.get("remedy", "")) if isinstance(extra, dict) else ""
    message = str(envelope.get("message", "")).removesuffix(".").removesuffix(remedy.removesuffix(".")).rstrip(" ")
    problems = extra.get("errors", []) if isinstance(extra, dict) else []
    return Refused(status, message or f"refused with {status}", remedy, problems)
