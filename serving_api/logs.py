"""Structured logs: one JSON object a line on standard error, with the request id."""

import asyncio
import atexit
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog

#: The id of the request under way; every line that is logged while it is answered has it.
REQUEST_ID: ContextVar[str] = ContextVar("request_id")
_EXTRA = frozenset({"request_id", "route", "reason", "status", "s"})
#: Seconds that a request's line waits for others, to be written with them, and how many wait at most.
_TOGETHER: Final = 0.1
_MOST_WAITING: Final = 1000
_requests: Final = logging.getLogger("serving_api.request")
_waiting: Final[list[bytes]] = []


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
    atexit.register(flush)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def request(method: str, path: str, status: int, seconds: float) -> None:
    """The line of a request that was answered, at level INFO.

    Lines are written together, a tenth of a second late: there are many, and a call to the system for each would take
    as long as the rest of what the API does for it.
    """
    if not _requests.isEnabledFor(logging.INFO):
        return
    line = {
        "event": "request", "method": method, "path": path, "status": status, "ms": round(seconds * 1000, 1),
        "request_id": REQUEST_ID.get(""), "level": "info", "timestamp": datetime.now(UTC),
    }  # fmt: skip
    _waiting.append(orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
    if len(_waiting) == 1:
        asyncio.get_running_loop().call_later(_TOGETHER, flush)
    elif len(_waiting) >= _MOST_WAITING:
        flush()


def flush() -> None:
    """Write the lines that wait."""
    lines = b"".join(_waiting)
    _waiting.clear()
    if lines:
        sys.stderr.buffer.write(lines)
        sys.stderr.buffer.flush()


def _with_request_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if known := REQUEST_ID.get(""):
        event.setdefault("request_id", known)
    return event


def _dumps(line: Any, default: Callable[[Any], Any] | None = None, **_more: Any) -> bytes:
    return orjson.dumps(line, default)
