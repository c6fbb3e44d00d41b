"""A supervisor over small programs of the tests' own; run by the tests as a process, so that it can be killed.

python supervised_program.py HOME PROGRAMS.json, where each program is {"name", "script", "after", "port"}.
"""

import json
import os
import sys
from pathlib import Path

from llmops_cli.supervision import health, supervisor
from llmops_cli.supervision.processes import MARK, Process
from llmops_cli.supervision.state import take_lock

home, programs = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
processes = [
    Process(
        name=program["name"],
        command=(sys.executable, "-u", "-c", program["script"]),
        probe=health.port_listens(program["port"]) if program.get("port") else health.always,
        after=tuple(program.get("after", ())),
        stop_seconds=2.0,
    )
    for program in programs
]
supervisor.LOG_BYTES = int(os.environ.get("TEST_LOG_BYTES", supervisor.LOG_BYTES))  # type: ignore[misc]
lock = take_lock(home)
if lock is None:
    sys.exit("locked")
supervisor.Supervisor(
    home, processes, {**os.environ, MARK: str(home)}, console_url="http://localhost:0", database=None
).run()
