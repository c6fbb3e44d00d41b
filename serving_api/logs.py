"""Structured logs: one JSON object a line on standard error, with the request id."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog

_EXTRA = frozenset({"request_id", "route", "reason", "status", "s"})


def configure(level: str) -> None:
    """Send structlog, and the standard library's loggers, to standard error as JSON; structlog by the shortest way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
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
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _dumps(line: Any, default: Callable[[Any], Any] | None = None, **_more: Any) -> bytes:
    return orjson.dumps(line, default)
