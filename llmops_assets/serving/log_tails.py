"""The ends of runtimes' logs, brought to the database while somebody looks at them: from this machine, or from pods."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from llmops_resources.cluster import Cluster, Object
from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform
from llmops_resources.serving import log_tails
from llmops_resources.serving.placing import CONTAINER, FETCHER
from llmops_resources.serving.reconcile import Desired
from llmops_resources.training.masking import Masking

PERIOD: Final = 2.0  # seconds between two looks
_MASKING: Final = Masking()
log = logging.getLogger("llmops.log_tails")


@dataclass
class LogTails:
    """Brings the tails that are looked at, every two seconds. Not thread-safe."""

    platform: Platform
    actor: Actor
    _due: float = 0.0

    def bring(self, endpoints: Sequence[Desired], tail_of: Callable[[UUID], str]) -> None:
        """Write down the tails of those among the endpoints that somebody looks at. Raises Unavailable."""
        if not endpoints or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PERIOD
        with self.platform.transaction(self.actor) as tx:
            wanted = log_tails.wanted(tx)
        for endpoint in endpoints:
            if endpoint.endpoint_id in wanted:
                text = "\n".join(map(_MASKING, tail_of(endpoint.endpoint_id).splitlines()))
                with self.platform.transaction(self.actor) as tx:
                    log_tails.keep(tx, endpoint.endpoint_id, endpoint.revision, text)


def of_pods(door: Cluster, pods: Mapping[str, Sequence[Object]]) -> Callable[[UUID], str]:
    """How the tails of pods are read: each under its name, of a pod that is still fetching what its fetcher says."""

    def tail(endpoint_id: UUID) -> str:
        parts = []
        for pod in pods.get(str(endpoint_id), []):
            name = pod["metadata"]["name"]
            fetching = pod.get("status", {}).get("phase") == "Pending"
            try:
                said = door.log(name, container=FETCHER if fetching else CONTAINER, lines=log_tails.LINES)
            except PlatformError as error:
                said = f"its log cannot be read: {error.message}"
            parts.append(f"── {name} ──\n{said}")
        return "\n".join(parts)

    return tail
