"""What the supervisor tells about itself: home/run/state.json, and a lock that dies with it."""

import fcntl
import json
import os
from pathlib import Path
from typing import IO

import psutil
from pydantic import ValidationError

from llmops_resources.values import Value


class ProcessState(Value):
    """One supervised process; times are Unix. `health`: waiting, starting, healthy, unhealthy, restarting, stopped."""

    name: str
    pid: int | None
    started_at: float | None
    restarts: int
    health: str
    address: str
    last_exit: int | None


class SupervisorState(Value):
    """The supervisor with its process id and creation time, and what it supervises."""

    pid: int
    started_at: float
    home: str
    console_url: str
    database_url: str
    stopping: bool
    processes: tuple[ProcessState, ...]

    @property
    def ready(self) -> bool:
        """Whether everything is up."""
        return not self.stopping and all(process.health == "healthy" for process in self.processes)


def write_state(home: Path, state: SupervisorState) -> None:
    """Replace the state file in one step; it may hold the database's password, so it is ours alone."""
    path = home / "run" / "state.json"
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(state.json_dict(), indent=1))
    temporary.replace(path)


def read_state(home: Path) -> SupervisorState | None:
    """The state of a supervisor that is alive, or None: the file of a dead one is not believed."""
    try:
        state = SupervisorState.model_validate_json((home / "run" / "state.json").read_bytes())
        alive = abs(psutil.Process(state.pid).create_time() - state.started_at) < 2
    except (OSError, ValidationError, psutil.Error):
        return None
    return state if alive else None


def take_lock(home: Path) -> IO[str] | None:
    """The supervisor's lock, held until the file is closed or we die; None when another supervisor has it."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    lock = (home / "run" / "supervisor.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def is_locked(home: Path) -> bool:
    """Whether a supervisor runs on this home."""
    lock = take_lock(home)
    if lock is None:
        return True
    lock.close()
    return False
