"""Structured logs: one JSON object a line on standard error, with the request id."""

import atexit
import logging
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson
import structlog

from serving_api import afterwards

#: The id of the request under way; every line that is logged while it is answered has it.
REQUEST_ID: ContextVar[str] = ContextVar("request_id")
LONGEST_PATH: Final = 300  # characters of a path in a line
_EXTRA = frozenset({"request_id", "route", "reason"})
_requests: Final = logging.getLogger("serving_api.request")


def configure(level: str) -> None:
    """Send structlog, and the standard library's loggers, to standard error as JSON; structlog by the shortest way."""
    shared: list[structlog.typing.Processor] = [
        _with_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(_EXTRA)],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=lambda *given, **more: _dumps(*given, **more).decode()),
            ],
        )
    )
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


def _with_request_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if known := REQUEST_ID.get(""):
        event.setdefault("request_id", known)
    return event


def _dumps(line: Any, default: Callable[[Any], Any] | None = None, **_more: Any) -> bytes:
    return orjson.dumps(line, default)
