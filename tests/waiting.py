"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from typing import Any

import psutil

PATIENCE = 60.0  # seconds


def until(look: Callable[[], Any], what: str) -> Any:
    """What `look` finds. Raises AssertionError when that is nothing for PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited for {what}")


def gone(pid: int) -> bool:
    """Whether a process has ended, collected or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
