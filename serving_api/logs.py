"""Structured logs: one JSON object a line on standard error, with the request id."""

import atexit
import logging
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

import msgspec
import orjson

from serving_api import afterwards

#: The id of the request under way; every line that is logged while it is answered has it.
REQUEST_ID: ContextVar[str] = ContextVar("request_id")
LONGEST_PATH: Final = 300  # characters of a path in a line
#: What a record may say beside its message.
_EXTRA: Final = ("request_id", "route", "reason")
_requests: Final = logging.getLogger("serving_api.request")


def configure(level: str) -> None:
    """Send what is logged to standard error as JSON, with the request's id."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLine())
    atexit.register(afterwards.do_now)  # the lines of the last requests
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class Answered(msgspec.Struct, frozen=True, gc=False):
    """A request that was answered, `at` seconds of Unix time, after `seconds`; `lasting` for as long as was wanted."""

    method: str
    path: str
    status: int
    seconds: float
    lasting: bool
    request_id: str
    at: float


def write(answered: Iterable[Answered]) -> None:
    """The lines of requests that were answered, at level INFO, in one piece."""
    if not _requests.isEnabledFor(logging.INFO):
        return
    lines = [
        orjson.dumps(
            {
                "event": "request", "method": each.method, "path": each.path[:LONGEST_PATH], "status": each.status,
                "ms": round(each.seconds * 1000, 1), "request_id": each.request_id, "level": "info",
                "timestamp": datetime.fromtimestamp(each.at, UTC),
            },
            option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE,
        )
        for each in answered
    ]  # fmt: skip
    sys.stderr.buffer.write(b"".join(lines))
    sys.stderr.buffer.flush()


class _JsonLine(logging.Formatter):
    """One record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"event": record.getMessage()}
        if known := REQUEST_ID.get(""):
            line["request_id"] = known
        line |= {name: getattr(record, name) for name in _EXTRA if hasattr(record, name)}
        line |= {
            "level": record.levelname.lower(), "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC),
        }  # fmt: skip
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return orjson.dumps(line, repr, option=orjson.OPT_UTC_Z).decode()
