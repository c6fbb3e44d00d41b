"""Running a program of this floor as a child process: its events, its end, and that it never outlives its run."""

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from llmops_assets.claims import Cancelled
from llmops_assets.warm.asking import Forked, fork
from llmops_resources.errors import InvalidInput, UpstreamFailed

POLL: Final = 0.5  # seconds between two looks at whether the work should stop
GRACE: Final = 10.0  # seconds between SIGTERM and SIGKILL
LONGEST: Final = 65_536  # characters of a line of stderr that are read at once
INPUT_AT_FAULT: Final = 2  # exit status of our programs when the input is wrong
_PR_SET_PDEATHSIG: Final = 1

Event = dict[str, Any]
Child = subprocess.Popen[str] | Forked


class ProgramFailed(UpstreamFailed):
    """A program ended badly; `status` as `subprocess` gives it, `said` the last lines of its stderr."""

    def __init__(self, module: str, status: int, said: list[str]) -> None:
        ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        super().__init__(f"{module} ended with {ended}: {_last(said)}", remedy="See the run's log in Dagster.")
        self.status, self.said = status, "\n".join(said)


def run(
    module: str,
    folder: Path,
    *,
    environment: Mapping[str, str],
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
    walled: bool = False,
    processes: int = 1,
    grace: float = GRACE,
    hear: Callable[[str], str] = str,
    warm: Path | None = None,
) -> None:
    """Run `python -m module folder` to its end, handing over each JSON line of its stdout.

    `walled`: it meets a stranger's files, so it gets nothing of our environment and `folder` as its home. With more
    than one of `processes`, `torchrun` starts them on this machine. Whoever ends this run early gives the program
    `grace` seconds to end by itself, and what it says meanwhile is handed over too. `hear` gets each line of its
    stderr, on a thread of its own, and returns it as errors may quote it; it must neither wait nor raise. A single
    process is forked by the server at the socket `warm`, if there is one, which has imported what the module needs.

    Raises Cancelled when `should_stop` said so, InvalidInput when the program blames its input, ProgramFailed for any
    other bad end; both with the last lines of its stderr.
    """
    shared = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = [*(["-I"] if walled else []), *(shared if processes > 1 else [])]
    command = [sys.executable, *launcher, "-m", module, str(folder)]
    refusal: list[Event] = []
    home = folder if walled else None
    alone = not walled and processes == 1
    forked = fork(warm, module, [str(folder)], _seen(environment, home)) if warm and alone else None
    with forked or start(command, environment=environment, home=home) as process:
        try:
            events: queue.Queue[Event | None] = queue.Queue()
            said: deque[str] = deque(maxlen=30)
            readers = [
                threading.Thread(target=_read_events, args=(process.stdout, events), daemon=True),
                threading.Thread(target=_read_lines, args=(process.stderr, said, hear), daemon=True),
            ]
            for reader in readers:
                reader.start()
            _follow(events, _sorting(on_event, refusal), should_stop)
            status = process.wait(grace)
            readers[1].join(GRACE)
        finally:
            stop(process, grace)
            readers[0].join(GRACE)
            _hand_over_the_rest(events, on_event)
    if refusal:
        raise InvalidInput(str(refusal[-1]["message"]), remedy=str(refusal[-1]["remedy"]))
    if status == INPUT_AT_FAULT:
        raise InvalidInput(
            _last(said) or f"{module} refused its input", remedy="Correct the input and submit it again."
        )
    if status != 0:
        raise ProgramFailed(module, status, list(said))


def start(
    command: list[str],
    *,
    environment: Mapping[str, str],
    output: IO[bytes] | int = subprocess.PIPE,
    home: Path | None = None,
) -> subprocess.Popen[str]:
    """Start a child in a session of its own that the kernel kills when this thread's process dies (on Linux).

    With a `home` it starts there and inherits no environment.
    """
    return subprocess.Popen(
        command,
        cwd=home,
        env=_seen(environment, home),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output if output is not subprocess.PIPE else subprocess.PIPE,
        text=True,
        errors="replace",  # a byte that is no text must not end the reader: the pipe would fill and the program wait
        start_new_session=True,
        preexec_fn=_dying_with_parent(),  # noqa: PLW1509  one system call, which takes no lock
    )


def stop(process: Child, grace: float = GRACE) -> None:
    """End a child and everything it started: politely, then by force."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _follow(
    events: "queue.Queue[Event | None]", on_event: Callable[[Event], None], should_stop: Callable[[], bool]
) -> None:
    looked = time.monotonic()
    while True:
        try:
            event = events.get(timeout=POLL)
            if event is None:
                return
            on_event(event)
        except queue.Empty:
            pass
        if time.monotonic() - looked >= POLL:
            looked = time.monotonic()
            if should_stop():
                raise Cancelled


def _sorting(on_event: Callable[[Event], None], refusal: list[Event]) -> Callable[[Event], None]:
    """Keeps back what the program says of its input; everything else is handed over."""
    return lambda event: refusal.append(event) if event.get("event") == "refused" else on_event(event)


def _hand_over_the_rest(events: "queue.Queue[Event | None]", on_event: Callable[[Event], None]) -> None:
    while not events.empty():
        if (event := events.get()) is not None:
            on_event(event)


def _read_events(stream: IO[str] | None, events: "queue.Queue[Event | None]") -> None:
    for line in stream or ():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a library printed something of its own
        if isinstance(event, dict):
            events.put(event)
    events.put(None)


def _read_lines(stream: IO[str] | None, lines: deque[str], hear: Callable[[str], str]) -> None:
    """All lines, a very long one in pieces: it must not fill our memory, nor its pipe the program's time."""
    while stream is not None and (line := stream.readline(LONGEST)):
        lines.append(hear(line.rstrip()))


def _last(lines: Sequence[str]) -> str:
    return " ".join(line for line in list(lines)[-5:] if line)[-1500:]


def _seen(environment: Mapping[str, str], home: Path | None) -> dict[str, str]:
    """What a program sees around it: with a home of its own nothing of ours."""
    inherited = os.environ if home is None else {"HOME": str(home)}
    return {**inherited, "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE", **environment}


def _signal_group(process: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _dying_with_parent() -> Callable[[], None] | None:
    """What a child does before it becomes the program. Everything is loaded beforehand: after a fork nothing may be."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask_for_the_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))

    return ask_for_the_signal
