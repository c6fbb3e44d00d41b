"""The keeper of one forked program: starts it, stops it, tells its end. It has no thread and opens nothing of its own.

An attached program belongs to who asked for it: its outputs are theirs, its end is told over the connection, and when
they die the keeper kills it. A lasting one outlives who asked for it; if it has a name, as a Dagster run has, it is
found by that: it is the name of an abstract socket, there exactly as long as its keeper. In both cases a keeper that
dies takes the program with it by the kernel's hand.

Whoever asks for a lasting program hears `ready` and answers `go`: who has not got that far may start it by other
means and be sure that it runs once.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

from llmops_assets.warm.kits import Kit
from llmops_assets.warm.names import address, is_ours

LARGEST: Final = 1 << 20  # bytes of a request
PATIENCE: Final = 10.0  # seconds that a request may take to come
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15

Request = dict[str, Any]


def keep(kit: Kit, connection: socket.socket, libc: Any) -> int:
    """Do what one request asks for; the exit status of the keeper."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the program is asked to stop, and its end is ours
    connection.settimeout(PATIENCE)
    request, outputs = _receive(connection)
    if kit.name_of(request["module"], request["arguments"]) is None or len(outputs) not in {0, 2}:
        return 1
    keep_it = _keep_lasting if request["lasting"] else _keep_attached
    return keep_it(kit, connection, request, outputs, libc)


def _keep_attached(kit: Kit, connection: socket.socket, request: Request, outputs: list[int], libc: Any) -> int:
    """Tell the program's process id and its end; kill it when the other side is gone."""
    program = _start(kit, request, outputs, libc, [connection])
    ended = os.pidfd_open(program)
    _tell(connection, {"pid": program})
    ready, _, _ = select.select([ended, connection.fileno()], [], [])
    if ended not in ready:  # the run has died: nobody says anything after its request
        _kill_group(program)
    _tell(connection, {"status": _end_of(program)})
    return 0


def _keep_lasting(kit: Kit, connection: socket.socket, request: Request, outputs: list[int], libc: Any) -> int:
    """Hold the name, if it has one, start the program when told to, and stop it for whoever asks under the name."""
    name = request["name"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as named:
        if name and not _take(named, name):
            _tell(connection, {"taken": True})
            return 0
        _tell(connection, {"ready": True})
        if connection.recv(3) != b"go\n":
            return 1
        program = _start(kit, request, outputs, libc, [connection, named])
        _tell(connection, {"pid": program})
        ended = os.pidfd_open(program)
        watched = [ended, named.fileno()] if name else [ended]
        while ended not in select.select(watched, [], [])[0]:
            _hear(named, program)
        status = _end_of(program)
    _tell(connection, {"status": status})
    if status != 0 and name and kit.ended:
        os.environ.clear()
        os.environ.update(request["environment"])
        module, _, function = kit.ended.partition(":")
        getattr(importlib.import_module(module), function)(name, status)
    return 0


def _take(named: socket.socket, name: str) -> bool:
    try:
        named.bind(address(name))
    except OSError:
        return False  # another keeper has it
    named.listen(4)
    return True


def _end_of(program: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])


def _hear(named: socket.socket, program: int) -> None:
    """Ask the program to stop for somebody who may ask, who is told so."""
    with contextlib.suppress(OSError), named.accept()[0] as asking:
        if is_ours(asking):
            os.kill(program, signal.SIGTERM)
            _tell(asking, {"asked": program})


def _receive(connection: socket.socket) -> tuple[Request, list[int]]:
    """The request, a line of JSON, and the files that came with its first byte: the program's stdout and stderr."""
    said, outputs, _, _ = socket.recv_fds(connection, LARGEST, 2)
    while not said.endswith(b"\n") and len(said) < LARGEST:
        more = connection.recv(LARGEST)
        if not more:
            break
        said += more
    request: Request = json.loads(said)
    return request, list(outputs)


def _start(kit: Kit, request: Request, outputs: list[int], libc: Any, ours: list[socket.socket]) -> int:
    """Fork the program, which holds none of `ours` and has the outputs to itself; its process id."""
    keeper, program = os.getpid(), os.fork()
    if program == 0:
        for handle in ours:
            handle.close()
        in_child(lambda: _become(kit, request, outputs, keeper, libc))
    for output in outputs:
        os.close(output)
    return program


def _become(kit: Kit, request: Request, outputs: list[int], keeper: int, libc: Any) -> int:
    """Be the program: its session, its outputs, its environment, its threads."""
    os.setsid()
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    libc.prctl(_PR_SET_NAME, str(kit.name_of(request["module"], request["arguments"])).encode())
    if os.getppid() != keeper:
        return 1  # it died before the kernel was told
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, handle in enumerate((nothing, *outputs)):
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    threads = request["environment"].get("OMP_NUM_THREADS")
    if threads and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(threads))  # its own libraries have read the server's environment
    sys.argv = [request["module"], *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    return 0


def in_child(work: Callable[[], int]) -> NoReturn:
    """Do it and leave, as the interpreter leaves a program; never return into the server's loop."""
    status = 1
    try:
        status = work()
    except SystemExit as ended:
        status = _status(ended)
    except BaseException:  # noqa: BLE001  it ends here, whatever it is
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):  # as `multiprocessing` ends a forked child
            threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
            atexit._run_exitfuncs()  # noqa: SLF001
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _status(ended: SystemExit) -> int:
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    print(ended.code, file=sys.stderr)
    return 1


def _tell(connection: socket.socket, what: dict[str, int]) -> None:
    try:
        connection.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        return  # nobody is there any more


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    os.kill(leader, signal.SIGKILL)  # it is ours to collect, so it is there; perhaps it does not lead its group yet
