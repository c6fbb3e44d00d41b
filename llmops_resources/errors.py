"""One tree of errors; every error knows its kind, and one place turns the kind into HTTP.

    PlatformError
    ├── InvalidInput        400  the request cannot be read as what it should be
    ├── NotAuthenticated    401  nobody we know
    ├── Forbidden           403  somebody we know, who may not
    ├── NotFound            404
    ├── Conflict            409  the state or a dependency stands in the way
    ├── TooLarge            413
    ├── UnsupportedFormat   415
    ├── ValidationFailed    422  readable, but fields are wrong; lists every one of them
    ├── TooManyRequests     429  knows after how many seconds to come back
    ├── UpstreamFailed      502  a model server or provider answered wrongly
    ├── Unavailable         503  something we depend on is down
    └── UpstreamTimeout     504  a model server or provider did not answer in time
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from typing_extensions import TypedDict


class ErrorKind(StrEnum):
    """The class of an error, which decides its HTTP status and whether the client or we are at fault."""

    INVALID_INPUT = "invalid_input"
    NOT_AUTHENTICATED = "not_authenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    VALIDATION_FAILED = "validation_failed"
    TOO_MANY_REQUESTS = "too_many_requests"
    UPSTREAM_FAILED = "upstream_failed"
    UNAVAILABLE = "unavailable"
    UPSTREAM_TIMEOUT = "upstream_timeout"


class FieldProblem(TypedDict):
    """One wrong field: where it is, what is wrong, and what would be right."""

    path: str
    problem: str
    remedy: str


class PlatformError(Exception):
    """An error meant for a person: what is wrong, and what to do about it."""

    kind: ClassVar[ErrorKind]

    def __init__(self, message: str, *, remedy: str = "", details: Sequence[FieldProblem] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details: tuple[FieldProblem, ...] = tuple(details or ())

    @property
    def told(self) -> str:
        """What is wrong and what to do, as sentences; the message as it is when nothing can be done."""
        return in_sentences(self.message, self.remedy) if self.remedy else self.message


def in_sentences(problem: str, remedy: str) -> str:
    """A problem and its remedy as sentences; they come with and without a full stop, and side by side need one."""
    return " ".join(part if part.endswith((".", "!", "?", "…")) else f"{part}." for part in (problem, remedy) if part)


class InvalidInput(PlatformError):
    kind = ErrorKind.INVALID_INPUT


class NotAuthenticated(PlatformError):
    kind = ErrorKind.NOT_AUTHENTICATED


class Forbidden(PlatformError):
    kind = ErrorKind.FORBIDDEN


class NotFound(PlatformError):
    kind = ErrorKind.NOT_FOUND


class Conflict(PlatformError):
    kind = ErrorKind.CONFLICT


class TooLarge(PlatformError):
    kind = ErrorKind.TOO_LARGE


class UnsupportedFormat(PlatformError):
    kind = ErrorKind.UNSUPPORTED_FORMAT


class ValidationFailed(PlatformError):
    kind = ErrorKind.VALIDATION_FAILED


class TooManyRequests(PlatformError):
    kind = ErrorKind.TOO_MANY_REQUESTS

    def __init__(self, message: str, *, retry_after: float, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class UpstreamFailed(PlatformError):
    kind = ErrorKind.UPSTREAM_FAILED


class Unavailable(PlatformError):
    kind = ErrorKind.UNAVAILABLE


class UpstreamTimeout(PlatformError):
    kind = ErrorKind.UPSTREAM_TIMEOUT


def field_problem(path: str, problem: str, remedy: str) -> FieldProblem:
    """One entry of `details`."""
    return {"path": path, "problem": problem, "remedy": remedy}
