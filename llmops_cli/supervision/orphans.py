"""Processes that outlived their supervisor are found by the home in their environment, and ended."""

import os
from pathlib import Path

import psutil

from llmops_cli.supervision.processes import MARK


def marked_processes(home: Path) -> list[psutil.Process]:
    """Everything started for this home, whoever its parent is now; never ourselves nor those who started us."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in ours and _home_of(process) == str(home)]


def end_marked(home: Path, patience: float = 8.0) -> int:
    """Ask them to stop, insist after `patience` seconds; returns how many there were."""
    found = marked_processes(home)
    for process in found:
        _signal(process, gently=True)
    _, stubborn = psutil.wait_procs(found, timeout=patience)
    for process in {*stubborn, *marked_processes(home)}:
        _signal(process, gently=False)
    psutil.wait_procs(stubborn, timeout=5)
    return len(found)


def _home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def _signal(process: psutil.Process, *, gently: bool) -> None:
    try:
        if gently:
            process.terminate()
        else:
            process.kill()
    except psutil.Error:
        return
