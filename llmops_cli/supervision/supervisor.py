"""Keeps the platform's processes running: starts them in order, restarts what dies, stops all of them at the end.

One thread, one loop, a tick every quarter of a second. What dies by accident is started again at once; what keeps
dying waits from 1 to 30 seconds between its starts, and is forgiven after ten quiet ones. Logs are files the
processes append to; one past its size is copied to `.1` and cut.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from llmops_cli.supervision import child
from llmops_cli.supervision.processes import Process
from llmops_cli.supervision.state import ProcessState, SupervisorState, write_state
from llmops_resources import postgres
from llmops_resources.errors import Unavailable

TICK: Final = 0.25
LONGEST_BACKOFF: Final = 30.0
PEACE: Final = 10.0  # seconds after which a death is an accident and not a failing start
LOG_BYTES: Final = 20 * 1024**2


class Child:
    """One process and its history."""

    def __init__(self, process: Process, environment: Mapping[str, str], logs: Path) -> None:
        self.process = process
        self.health = "waiting"
        self.restarts = 0
        self.last_exit: int | None = None
        self.started_at: float | None = None
        self._environment = dict(environment)
        self._log = logs / f"{process.name}.log"
        self._popen: subprocess.Popen[bytes] | None = None
        self._backoff = 1.0
        self._not_before = 0.0
        self._next_probe = 0.0

    def tick(self, healthy: set[str]) -> None:
        """Start, restart or probe, whichever is due."""
        now = time.monotonic()
        if self._popen is not None and (code := self._popen.poll()) is not None:
            self._died(code, now)
        if self._popen is None:
            if now >= self._not_before and healthy.issuperset(self.process.after):
                self.start()
        elif now >= self._next_probe:
            settled = time.time() - (self.started_at or 0.0) >= self.process.settle_seconds
            well = settled and self.process.probe()
            if well or self.health == "healthy":
                self.health = "healthy" if well else "unhealthy"
            self._next_probe = now + (5.0 if well else 0.5)
        self._rotate()

    def start(self) -> None:
        """Run the command in a session of its own; the keyboard's interrupt reaches us alone."""
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *self.process.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self.health, self.started_at, self._next_probe = "starting", time.time(), 0.0

    def ask_to_stop(self) -> None:
        """Send SIGTERM, and wait for nothing."""
        if self._popen is not None:
            self._popen.terminate()

    def stop(self, seconds: float) -> None:
        """Wait so long for a process that was asked, then insist; end whatever of its session is left."""
        if self._popen is not None:
            try:
                self._popen.wait(max(0.0, seconds))
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
            self._end_session(self._popen.pid)
            self.last_exit, self._popen = self._popen.returncode, None
        self.health = "stopped"

    def state(self) -> ProcessState:
        """For the state file."""
        return ProcessState(
            name=self.process.name,
            pid=self._popen.pid if self._popen is not None else None,
            started_at=self.started_at if self._popen is not None else None,
            restarts=self.restarts,
            health=self.health,
            address=self.process.address,
            last_exit=self.last_exit,
        )

    def _died(self, code: int, now: float) -> None:
        # Not its descendants: a training run or a model that serves goes on while its starter is started again.
        if self.started_at is not None and time.time() - self.started_at > PEACE:
            self._backoff = 0.0
        self._not_before = now + self._backoff
        self._backoff = min(LONGEST_BACKOFF, max(1.0, self._backoff * 2))
        self.last_exit, self._popen, self.health = code, None, "restarting"
        self.restarts += 1

    @staticmethod
    def _end_session(leader: int) -> None:
        try:
            os.killpg(leader, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            return

    def _rotate(self) -> None:
        try:
            if self._log.stat().st_size > LOG_BYTES:
                shutil.copyfile(self._log, self._log.with_suffix(".log.1"))
                os.truncate(self._log, 0)  # writers append, so they go on at the new end
        except OSError:
            return


class EmbeddedDatabase:
    """The embedded server as something supervised; it is not our child, so that it outlives a killed supervisor."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.restarts = 0
        self._next_look = 0.0

    def tick(self) -> None:
        """Start the server again if it is gone."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + 2.0
        if not postgres.is_running(self.data):
            try:
                postgres.start(self.data)
                self.restarts += 1
            except Unavailable as error:
                sys.stderr.write(f"{error.message}\n")
                self._next_look += 10.0

    def state(self) -> ProcessState:
        """For the state file."""
        pid = postgres.pid(self.data)
        return ProcessState(
            name="postgres",
            pid=pid,
            started_at=psutil.Process(pid).create_time() if pid is not None else None,
            restarts=self.restarts,
            health="healthy" if pid is not None else "restarting",
            address="unix socket",
            last_exit=None,
        )


class Supervisor:
    """Runs until SIGTERM or SIGINT, then stops everything."""

    def __init__(
        self,
        home: Path,
        processes: Sequence[Process],
        environment: Mapping[str, str],
        *,
        console_url: str,
        database: EmbeddedDatabase | None,
    ) -> None:
        self.home, self.database = home, database
        self.console_url, self.database_url = console_url, environment.get("DATABASE_URL", "")
        (home / "logs").mkdir(parents=True, exist_ok=True)
        self.children = [Child(process, environment, home / "logs") for process in processes]
        self.stopping = False
        self._written: SupervisorState | None = None

    def run(self) -> None:
        """The loop. Returns when everything is stopped."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        try:
            while not self.stopping:
                if self.database is not None:
                    self.database.tick()
                for entry in self.children:
                    entry.tick({other.process.name for other in self.children if other.health == "healthy"})
                self._tell()
                time.sleep(TICK)
        finally:
            self.stopping = True
            self._tell()
            self._stop_all()

    def _stop_all(self) -> None:
        """Ask all at once, since each may take its time: what was under way is taken up at the next start."""
        asked = time.monotonic()
        for entry in reversed(self.children):
            entry.ask_to_stop()
        for entry in sorted(self.children, key=lambda entry: entry.process.stop_seconds):
            entry.stop(asked + entry.process.stop_seconds - time.monotonic())
            self._tell()

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _tell(self) -> None:
        """Write the state when it changed."""
        states = [self.database.state()] if self.database is not None else []
        state = SupervisorState(
            pid=os.getpid(),
            started_at=psutil.Process().create_time(),
            home=str(self.home),
            console_url=self.console_url,
            database_url=self.database_url,
            stopping=self.stopping,
            processes=(*states, *(entry.state() for entry in self.children)),
        )
        if state != self._written:
            write_state(self.home, state)
            self._written = state
