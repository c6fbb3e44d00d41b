"""A program that writes down what it was given and ends when it is asked to, and what hears of its bad end."""

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path


def main(told: Path, status: int) -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(status))
    files = {}
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that was the look itself
            files[handle.name] = str(handle.readlink())
    seen = {
        "pid": os.getpid(), "group": os.getpgid(0), "environment": dict(os.environ), "files": files,
        "threads": threading.active_count(), "folder": str(Path.cwd()),
    }  # fmt: skip
    part = told.with_suffix(".part")
    part.write_text(json.dumps(seen))
    part.rename(told)
    while True:
        signal.pause()


def ended(name: str, status: int) -> None:
    Path(os.environ["ENDED"]).write_text(f"{name} {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
