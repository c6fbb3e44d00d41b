"""Why an attempt failed, as far as it decides whether to try again, and when."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from llmops_resources.errors import ErrorKind, PlatformError
from llmops_resources.training.profile import RetryPolicy

LONGEST_WAIT: Final = timedelta(days=1)


class FailureCause(StrEnum):
    """`infrastructure`: something the job depends on was away, or its process died. The rest would only fail again."""

    INFRASTRUCTURE = "infrastructure"
    TIMEOUT = "timeout"
    INPUT = "input"
    PROGRAM = "program"


_OF_KIND: Final = {
    ErrorKind.UNAVAILABLE: FailureCause.INFRASTRUCTURE,
    ErrorKind.UPSTREAM_TIMEOUT: FailureCause.INFRASTRUCTURE,
    ErrorKind.TOO_MANY_REQUESTS: FailureCause.INFRASTRUCTURE,
    ErrorKind.INVALID_INPUT: FailureCause.INPUT,
    ErrorKind.VALIDATION_FAILED: FailureCause.INPUT,
    ErrorKind.UNSUPPORTED_FORMAT: FailureCause.INPUT,
    ErrorKind.CONFLICT: FailureCause.INPUT,
    ErrorKind.NOT_FOUND: FailureCause.INPUT,
}


def cause_of(error: BaseException) -> FailureCause:
    """The cause by the kind of the error; what is not known is the program's fault and not tried again."""
    return _OF_KIND.get(error.kind, FailureCause.PROGRAM) if isinstance(error, PlatformError) else FailureCause.PROGRAM


def backoff(policy: RetryPolicy, failures: int) -> timedelta:
    """The wait after so many failures before this one: doubling, a day at most."""
    return min(timedelta(seconds=policy.backoff_seconds * (1 << max(failures, 0))), LONGEST_WAIT)
