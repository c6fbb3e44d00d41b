"""What an error is over HTTP: kind → status, message and remedy → the envelope. The gateway needs no more than this."""

import orjson

from llmops_resources.errors import ErrorKind, PlatformError

STATUS: dict[ErrorKind, int] = {
    ErrorKind.INVALID_INPUT: 400,
    ErrorKind.NOT_AUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.UNSUPPORTED_FORMAT: 415,
    ErrorKind.VALIDATION_FAILED: 422,
    ErrorKind.TOO_MANY_REQUESTS: 429,
    ErrorKind.UPSTREAM_FAILED: 502,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.UPSTREAM_TIMEOUT: 504,
}


def status_of(kind: ErrorKind) -> int:
    """The HTTP status of a kind of error."""
    return STATUS[kind]


def envelope_bytes(error: PlatformError) -> bytes:
    """The failure envelope: what is wrong, what to do, and every bad field."""
    data = {"kind": error.kind, "remedy": error.remedy, "errors": list(error.details)}
    return orjson.dumps({"status": "fail", "message": error.told, "data": data})
