"""What an error says of a failed attempt, and when the next one may begin."""

from datetime import timedelta
from typing import Final

from llmops_resources.errors import ErrorKind, PlatformError
from llmops_resources.training import failures
from llmops_resources.training.failures import Cause, JobFailed, RootCause
from llmops_resources.training.profile import RetryPolicy

LONGEST_WAIT: Final = timedelta(days=1)
_AWAY: Final = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.UPSTREAM_TIMEOUT, ErrorKind.TOO_MANY_REQUESTS})
_INPUT: Final = frozenset(
    {
        ErrorKind.INVALID_INPUT, ErrorKind.VALIDATION_FAILED, ErrorKind.UNSUPPORTED_FORMAT, ErrorKind.CONFLICT,
        ErrorKind.NOT_FOUND,
    }
)  # fmt: skip


def cause_of(error: BaseException) -> Cause:
    """The cause of an attempt that ended with this error; what is not known is not tried again."""
    if isinstance(error, JobFailed):
        return error.cause
    if not isinstance(error, PlatformError):
        return failures.cause(RootCause.USER_CODE, f"{type(error).__name__}: {error}")
    if error.kind in _AWAY:
        return failures.cause(RootCause.INFRASTRUCTURE, str(error))
    if error.kind in _INPUT:
        found = failures.of_exit(failures.INPUT_AT_FAULT, str(error))
        return failures.cause(found.tag, found.detail, error.remedy)
    return failures.cause(RootCause.UNKNOWN, str(error), error.remedy)


def backoff(policy: RetryPolicy, failed_before: int) -> timedelta:
    """The wait after so many failures before this one: doubling, a day at most."""
    return min(timedelta(seconds=policy.backoff_seconds * (1 << max(failed_before, 0))), LONGEST_WAIT)
