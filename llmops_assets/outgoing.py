"""What goes on after a transaction: messages are sent, files of deleted versions removed, and pods of ended jobs."""

import time
from typing import Final

from llmops_assets.run_pods import Leftovers
from llmops_resources.catalog import delivery
from llmops_resources.database import Actor
from llmops_resources.impact import withdrawal
from llmops_resources.platform import Platform

ACTOR: Final = Actor("system:outgoing")
PERIOD: Final = 1.0  # seconds between two looks at the messages
CLEANING: Final = 60.0  # seconds between two tries at files that could not be removed


class Outgoing:
    """Looks are cheap and may be as frequent as the caller likes."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._looked = self._cleaned = 0.0
        self._leftovers = Leftovers(platform)

    def look(self) -> None:
        """Send what is due, and now and then clean up. Raises Unavailable while the database is away."""
        now = time.monotonic()
        if self._platform.settings.channels and now - self._looked >= PERIOD:
            self._looked = now
            delivery.deliver(self._platform.settings, lambda: self._platform.transaction(ACTOR))
        if now - self._cleaned >= CLEANING:
            self._cleaned = now
            withdrawal.clean_up(self._platform.blobs, lambda: self._platform.transaction(ACTOR))
        self._leftovers.look()
