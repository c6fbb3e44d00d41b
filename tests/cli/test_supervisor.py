"""The supervisor over real processes: order, restarts, a clean end, and what a killed supervisor leaves."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmops_cli.supervision import orphans
from llmops_cli.supervision.health import always
from llmops_cli.supervision.processes import Process
from llmops_cli.supervision.state import SupervisorState, is_locked, read_state, take_lock
from llmops_cli.supervision.supervisor import PEACE, Child

SLEEP = "import time; print('here', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
LISTEN = "import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.BaseHTTPRequestHandler).serve_forever()"
NOTES_ITS_PID = f"import os, pathlib, sys; pathlib.Path('PID').write_text(str(os.getpid())); {STUBBORN}"
#: Asked to stop, it looks whether the other one is still alive.
WITNESS = """import os, pathlib, signal, sys, time
def asked(*_):
    os.kill(int(pathlib.Path('PID').read_text()), 0)
    pathlib.Path('PID').with_name('seen').write_text('alive')
    sys.exit()
signal.signal(signal.SIGTERM, asked)
time.sleep(600)"""
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); {SLEEP}"

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "run").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def launch(programs: list[dict[str, Any]], **environment: str) -> subprocess.Popen[bytes]:
        (tmp_path / "programs.json").write_text(json.dumps(programs))
        command = [sys.executable, str(Path(__file__).with_name("supervised_program.py")), str(home)]
        process = subprocess.Popen([*command, str(tmp_path / "programs.json")], env={**os.environ, **environment})
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()
        process.wait()
    orphans.end_marked(home, patience=1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(home: Path, wanted: Callable[[SupervisorState], bool], seconds: float = 20.0) -> SupervisorState:
    deadline = time.monotonic() + seconds
    state = None
    while time.monotonic() < deadline:
        state = read_state(home)
        if state is not None and wanted(state):
            return state
        time.sleep(0.05)
    raise AssertionError(f"never came: {state}")


def alive(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill(child: Child) -> int:
    """Kill it, and wait until it is dead but not yet collected; the process id it had."""
    pid = child.state().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert gone([pid])
    return pid


def gone(pids: list[int | None], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


def test_a_process_starts_only_when_what_it_needs_is_healthy(home: Path, start: Start) -> None:
    port = free_port()
    slow = f"import time; time.sleep(1.5); {LISTEN.format(port=port)}"
    start([{"name": "first", "script": slow, "port": port}, {"name": "second", "script": SLEEP, "after": ["first"]}])
    waiting = until(home, lambda state: state.processes[0].health == "starting")
    assert waiting.processes[1].health == "waiting"
    assert waiting.processes[1].pid is None
    ready = until(home, lambda state: state.ready)
    first, second = ready.processes
    assert first.started_at is not None
    assert second.started_at is not None
    assert second.started_at - first.started_at > 1.4


def test_a_process_that_is_killed_is_started_again_and_counted(home: Path, start: Start) -> None:
    start([{"name": "only", "script": SLEEP}])
    pid = until(home, lambda state: state.ready).processes[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    again = until(home, lambda state: state.processes[0].restarts == 1 and state.ready).processes[0]
    assert again.pid != pid
    assert again.last_exit == -signal.SIGKILL


def test_what_dies_by_accident_is_started_again_at_once_and_what_dies_again_waits(home: Path) -> None:
    child = Child(Process(name="only", command=(sys.executable, "-c", SLEEP), probe=always), os.environ, home / "run")
    child.start()
    try:
        assert child.started_at is not None
        child.started_at -= 2 * PEACE  # it has lived in peace
        first = _kill(child)
        child.tick(set())
        assert child.state().pid not in {None, first}
        _kill(child)
        child.tick(set())
        assert child.state().pid is None
        assert (child.health, child.restarts) == ("restarting", 2)
    finally:
        child.ask_to_stop()
        child.stop(5)


def test_a_process_that_dies_at_once_is_restarted_ever_more_slowly(home: Path, start: Start) -> None:
    start([{"name": "broken", "script": "raise SystemExit('no use')"}])
    until(home, lambda state: state.processes[0].restarts == 3)
    began = time.monotonic()
    until(home, lambda state: state.processes[0].restarts == 4)
    assert time.monotonic() - began > 3
    assert "no use" in (home / "logs" / "broken.log").read_text()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_stops_everything_and_what_that_started(home: Path, start: Start, asked: int) -> None:
    supervisor = start([{"name": "stubborn", "script": STUBBORN}, {"name": "parent", "script": PARENT}])
    state = until(home, lambda state: state.ready)
    time.sleep(0.5)  # the parent starts its child
    supervisor.send_signal(asked)
    assert supervisor.wait(15) == 0
    assert gone([process.pid for process in state.processes])
    orphans.end_marked(home, patience=2)  # as `up` and `down` do at their end
    assert orphans.marked_processes(home) == []


def test_all_are_asked_to_stop_before_any_is_waited_for(home: Path, start: Start, tmp_path: Path) -> None:
    slow, witness = (text.replace("'PID'", repr(str(tmp_path / "pid"))) for text in (NOTES_ITS_PID, WITNESS))
    supervisor = start([{"name": "witness", "script": witness}, {"name": "stubborn", "script": slow}])
    until(home, lambda state: state.ready and (tmp_path / "pid").exists())
    time.sleep(0.5)  # both have said what they do about signals
    supervisor.terminate()
    assert supervisor.wait(15) == 0
    assert (tmp_path / "seen").read_text() == "alive"


def test_a_supervisor_that_is_killed_takes_its_processes_with_it(home: Path, start: Start) -> None:
    supervisor = start([{"name": "one", "script": SLEEP}, {"name": "two", "script": SLEEP}])
    pids = [process.pid for process in until(home, lambda state: state.ready).processes]
    supervisor.kill()
    supervisor.wait()
    assert gone(pids)
    assert read_state(home) is None
    assert not is_locked(home)


def test_what_a_killed_supervisor_leaves_is_found_by_its_home_and_ended(home: Path, start: Start) -> None:
    supervisor = start([{"name": "stubborn", "script": STUBBORN}, {"name": "parent", "script": PARENT}])
    until(home, lambda state: state.ready)
    time.sleep(0.5)
    supervisor.kill()
    supervisor.wait()
    time.sleep(0.5)
    left = [process.pid for process in orphans.marked_processes(home)]
    assert len(left) >= 2  # the one that ignores signals, and the grandchild in its own session
    assert orphans.end_marked(home, patience=1) == len(left)
    assert gone(list(left))
    assert orphans.end_marked(home) == 0


def test_only_one_supervisor_holds_a_home(home: Path, start: Start) -> None:
    start([{"name": "only", "script": SLEEP}])
    until(home, lambda state: state.ready)
    assert is_locked(home)
    assert take_lock(home) is None


def test_a_log_past_its_size_is_cut_and_keeps_growing(home: Path, start: Start) -> None:
    chatty = "import time\nwhile True:\n    print('x' * 999, flush=True)\n    time.sleep(0.001)"
    start([{"name": "chatty", "script": chatty}], TEST_LOG_BYTES="200000")
    log = home / "logs" / "chatty.log"
    deadline = time.monotonic() + 20
    while not log.with_suffix(".log.1").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert log.with_suffix(".log.1").stat().st_size > 200_000
    size, deadline = log.stat().st_size, time.monotonic() + 20
    while log.stat().st_size == size and time.monotonic() < deadline:
        time.sleep(0.1)
    assert log.stat().st_size != size
    assert b"\0" not in log.read_bytes()  # writers append: no hole where the cut part was


def test_a_half_written_state_file_is_not_believed(home: Path) -> None:
    (home / "run" / "state.json").write_text('{"pid": 1,')
    assert read_state(home) is None
