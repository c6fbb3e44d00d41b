"""Carries a run's checkpoints to object storage while it trains, and brings the newest back for the next attempt."""

import logging
import queue
import shutil
import threading
from pathlib import Path
from typing import Final
from uuid import UUID

from llmops_assets import scratch
from llmops_resources.blobs import Blobs
from llmops_resources.errors import PlatformError
from llmops_resources.training import checkpoints

log: Final = logging.getLogger(__name__)


class Keeper:
    """Publishes checkpoints on a thread of its own, so that the training's events are never held up.

    A context manager: leaving it waits for what is on its way. A store that is away costs a checkpoint, not the run.
    """

    def __init__(self, blobs: Blobs, job_id: UUID) -> None:
        self._blobs, self._folder = blobs, checkpoints.folder(job_id)
        self._waiting: queue.Queue[tuple[int, Path] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()

    def keep(self, step: int, folder: Path) -> None:
        """Take a finished checkpoint over; its local folder is removed when it has been published."""
        self._waiting.put((step, folder))

    def restore(self, destination: Path) -> int | None:
        """Download the newest checkpoint that is whole; the step it was made after. None when there is none."""
        for step in reversed(self._steps()):
            prefix = f"{self._folder}/{step}"
            try:
                manifest = self._blobs.manifest(prefix)
                if manifest is not None:
                    self._blobs.download(prefix, manifest, destination)
                    return step
            except PlatformError as error:
                log.warning("checkpoint %s is not usable: %s", prefix, error)
        return None

    def forget(self) -> None:
        """Remove all checkpoints of the job; what cannot be removed now is left to the sweep."""
        try:
            self._blobs.delete(self._folder)
        except PlatformError as error:
            log.warning("checkpoints in %s were left: %s", self._folder, error)

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            step, folder = job
            try:
                self._publish(step, folder)
            except PlatformError as error:
                log.warning("the checkpoint of step %s is not kept: %s", step, error)
            shutil.rmtree(folder, ignore_errors=True)

    def _publish(self, step: int, folder: Path) -> None:
        prefix = f"{self._folder}/{step}"
        if self._blobs.manifest(prefix) is not None:
            return  # an earlier attempt came as far, with the same bits
        self._blobs.delete(prefix)  # half of what a killed attempt was publishing
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        scratch.publish(self._blobs, prefix, {path.relative_to(folder).as_posix(): path for path in paths})
        for old in self._steps()[: -checkpoints.KEPT]:
            self._blobs.delete(f"{self._folder}/{old}")

    def _steps(self) -> list[int]:
        names = {entry.key.removeprefix(f"{self._folder}/").split("/")[0] for entry in self._blobs.list(self._folder)}
        return sorted(int(name) for name in names if name.isdecimal())
