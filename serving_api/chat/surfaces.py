"""The two faces of the same gateway: the platform's envelope, and OpenAI's bodies for OpenAI's clients."""

from typing import Protocol

import msgspec
import orjson

from llmops_resources.errors import ErrorKind, PlatformError
from llmops_resources.gateway import completions
from llmops_resources.gateway.completions import ChunkFacts, Tokens
from serving_api.failures import envelope_bytes, status_of


class Read(msgspec.Struct, frozen=True):
    """An answer ready for the client, its usage, and how many pieces of text it has (for want of a usage)."""

    body: bytes
    usage: Tokens | None
    pieces: int


class Surface(Protocol):
    """How answers and errors look to one kind of client."""

    name: str

    def failure(self, error: PlatformError) -> tuple[int, bytes]:
        """An error's status and body, a single line."""

    def success(self, body: bytes, route: str) -> Read:
        """The model server's whole answer. Raises UpstreamFailed when it makes no sense."""

    def keeps(self, facts: ChunkFacts) -> bool:
        """Whether a streamed chunk is for the client."""


class Enveloped:
    """`{"status", "message", "data"}`; streams carry the usage chunk."""

    name = "serve"

    def failure(self, error: PlatformError) -> tuple[int, bytes]:
        return status_of(error.kind), envelope_bytes(error)

    def success(self, body: bytes, route: str) -> Read:
        wrapped, usage, characters = completions.enveloped(body, route)
        return Read(wrapped, usage, -(-characters // 4))

    def keeps(self, facts: ChunkFacts) -> bool:
        _ = facts
        return True


_OPENAI_TYPES = {
    ErrorKind.NOT_AUTHENTICATED: "authentication_error",
    ErrorKind.FORBIDDEN: "permission_error",
    ErrorKind.TOO_MANY_REQUESTS: "rate_limit_error",
    ErrorKind.UPSTREAM_FAILED: "server_error",
    ErrorKind.UNAVAILABLE: "server_error",
    ErrorKind.UPSTREAM_TIMEOUT: "server_error",
}


class OpenAI:
    """OpenAI's bodies as they are; the usage chunk only for those who asked for it."""

    name = "openai"

    def __init__(self, *, wants_usage: bool = False) -> None:
        self.wants_usage = wants_usage

    def failure(self, error: PlatformError) -> tuple[int, bytes]:
        # OpenAI knows no 422: its clients expect a wrong field as a 400 that names it.
        status = 400 if error.kind is ErrorKind.VALIDATION_FAILED else status_of(error.kind)
        message = error.told
        if error.details:
            message += " " + " ".join(f"{d['path']}: {d['problem']}. {d['remedy']}" for d in error.details[:10])
        body = {
            "message": message,
            "type": _OPENAI_TYPES.get(error.kind, "invalid_request_error"),
            "param": error.details[0]["path"] if error.details else None,
            "code": "model_not_found" if error.kind is ErrorKind.NOT_FOUND else str(error.kind),
        }
        return status, orjson.dumps({"error": body})

    def success(self, body: bytes, route: str) -> Read:
        _ = route
        return Read(body, completions.passed_on(body), len(body) // 4)

    def keeps(self, facts: ChunkFacts) -> bool:
        return self.wants_usage or not facts.is_usage_only
