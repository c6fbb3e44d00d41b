"""`dagster code-server` as `llmops up` runs it: new definitions are loaded by a process that is forked, not started.

With every new name of the catalog Dagster loads the definitions again in a fresh process (`llmops_assets.code_server`),
and work on that name waits for it. What such a process needs is what a run needs, so the same server forks it; where
that cannot be, it is started as Dagster starts it.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from dagster._cli import main
from dagster._grpc import server
from dagster_shared.ipc import open_ipc_subprocess

from llmops_assets.warm import asking


def run() -> None:
    """Takes the socket of the warm server, then the arguments of `python -m dagster code-server`."""
    vars(server)["open_ipc_subprocess"] = partial(_open, Path(sys.argv[1]))
    sys.argv[1] = "code-server"
    main()  # type: ignore[no-untyped-call]


def _open(socket: Path, parts: list[str], **options: Any) -> "subprocess.Popen[bytes] | asking.Kept":
    """Have the process forked that `parts` would start."""
    if parts[:3] == [sys.executable, "-m", "dagster"] and options.get("cwd") is None:
        forked = asking.start(socket, "dagster", parts[3:], options.get("env") or os.environ)
        if forked is not None:
            return forked
    opened: subprocess.Popen[bytes] = open_ipc_subprocess(parts, **options)
    return opened


if __name__ == "__main__":
    run()
