"""A job's log while it runs: lines are put into memory and written by a thread, so nobody waits for the database."""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final
from uuid import UUID

from llmops_assets.claims import ACTOR
from llmops_resources.platform import Platform
from llmops_resources.training import logs
from llmops_resources.training.logs import Said, Source
from llmops_resources.training.masking import Masking

PERIOD: Final = 1.0  # seconds between two writes
CAPACITY: Final = 2_000  # lines kept between two writes, or while the database is away; the oldest go first
LAST_WRITE: Final = 10.0  # seconds that the end of a run may wait for the last write


class JobLog:
    """Keeps what an attempt says. A context manager: leaving it writes what is left."""

    def __init__(
        self, platform: Platform, job_id: UUID, attempt: int, masking: Masking, warn: Callable[[str], None]
    ) -> None:
        self._platform, self._job_id, self._attempt = platform, job_id, attempt
        self._masking, self._warn = masking, warn
        self._waiting: deque[Said] = deque()
        self._lost = 0
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)

    def __enter__(self) -> "JobLog":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self.say(f"attempt {self._attempt} ended: {error}")
        self._stopping.set()
        self._thread.join(LAST_WRITE)

    def hear(self, line: str) -> str:
        """Keep a line the program said; the line as it may be shown."""
        return self.say(line, "program")

    def say(self, line: str, source: Source = "platform") -> str:
        """Keep a line; the line as it may be shown. Never waits for anything outside this process."""
        line = self._masking(line)
        if line.strip():
            with self._guard:
                self._waiting.append(Said(text=line, source=source))
                if len(self._waiting) > CAPACITY:
                    self._waiting.popleft()
                    self._lost += 1
        return line

    def _work(self) -> None:
        while not self._stopping.wait(PERIOD):
            self._write()
        if (problem := self._write()) is not None:
            self._warn(f"the end of the job's log was not kept: {problem}")

    def _write(self) -> Exception | None:
        """Write all that waits, in one transaction; what cannot be written waits on."""
        with self._guard:
            batch, lost = list(self._waiting), self._lost
            self._waiting.clear()
            self._lost = 0
        if not batch:
            return None
        gap = [Said(text=f"{lost} lines came too fast and were left out here", source="platform", at=batch[0].at)]
        try:
            with self._platform.transaction(ACTOR) as tx:
                logs.append(tx, self._job_id, self._attempt, [*(gap if lost else []), *batch])
        except Exception as error:  # noqa: BLE001  whatever it is: the work goes on, and so does its log
            with self._guard:
                self._waiting.extendleft(reversed(batch))
                self._lost += lost
                while len(self._waiting) > CAPACITY:
                    self._waiting.popleft()
                    self._lost += 1
            return error
        return None
