"""Whether a process that serves can do its work."""

from typing import Final, Protocol

from sqlalchemy import text

from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform

PROBE: Final = Actor("system:probe")


class Fresh(Protocol):
    """Whatever answers from memory."""

    def freshness(self) -> str:
        """`ok`, or why what it knows may be out of date."""
        ...


def readiness(platform: Platform, gateway: Fresh) -> tuple[bool, dict[str, str]]:
    """Whether database and object store answer and the gateway's routes are fresh, and what each says."""
    found = {"database": "ok", "objects": "ok", "routes": gateway.freshness()}
    try:
        with platform.transaction(PROBE) as tx:
            tx.session.execute(text("SELECT 1"))
    except PlatformError as error:
        found["database"] = error.message
    try:
        platform.blobs.exists("probe/probe/probe")
    except PlatformError as error:
        found["objects"] = error.message
    return all(state == "ok" for state in found.values()), found
