"""A process that has imported what the training program needs, and forks for each run that asks: no run waits for it.

`python -m llmops_assets.training.warm SOCKET` listens on a Unix socket that its user alone may use. For every
connection it forks a keeper, and reads nothing itself, so that no job's environment is ever seen by another's. The
keeper gets the request and forks the program, which leads a session of its own and starts as `python -m` would start
it, with the environment of the request and no other. Deaths: the program's end is told over the connection; a run that
dies closes it, and the keeper kills the program; a keeper that dies takes the program with it by the kernel's hand;
when this server dies, runs that it began go on, and later ones start their programs by themselves.

Polars is not imported before the fork: its threads would be missing after it. With any thread beside its own the
server refuses to fork, and so it does when the files of the training program are no longer those it has imported.
"""

import atexit
import contextlib
import ctypes
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
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

PROGRAMS: Final = frozenset({"llmops_assets.training.sft"})
LOADED: Final = (
    "torch", "transformers", "accelerate", "transformers.models.llama.modeling_llama",
    *(f"llmops_assets.training.{name}" for name in ("models", "tokens", "checkpoints", "system", "sources", "muon")),
    *(f"llmops_assets.training.{name}" for name in ("environment", "metrics", "card")),
)  # fmt: skip
LARGEST: Final = 1 << 20  # bytes of a request
NAME: Final = b"llmops-train"  # what `ps -o comm` shows of the program
PATIENCE: Final = 10.0  # seconds that a request may take to come
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15


def serve(path: Path) -> None:
    """Import, then fork a keeper for each connection until the program's files change."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # no pool may exist before a fork
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"  # read at import; programs too
    for name in LOADED:
        importlib.import_module(name)
    from llmops_assets.training import environment  # noqa: PLC0415  it imports what must be imported in order

    code, libc = environment.code_digest(), ctypes.CDLL(None)  # after a fork nothing should be loaded
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers leave no zombies
    listener = _listen(path)
    while True:
        connection, _ = listener.accept()
        with connection:
            if not _is_ours(connection) or len(list(Path("/proc/self/task").iterdir())) > 1:
                continue
            if environment.code_digest() != code:
                sys.exit("the training program has changed: starting again")
            if os.fork() == 0:
                listener.close()
                _in_child(partial(_keep, connection, libc))


def _listen(path: Path) -> socket.socket:
    """A socket that appears when it is ready; by a short name, since long ones are refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.chdir(path.parent)
    new = Path(f".{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(new))
    new.chmod(0o600)
    listener.listen(32)
    new.rename(path.name)
    return listener


def _is_ours(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder) == os.getuid()


def _keep(connection: socket.socket, libc: Any) -> int:
    """Start the program of a request, tell its process id and its end; kill it when the other side is gone."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the program is asked to stop, and its end is ours
    connection.settimeout(PATIENCE)
    request, outputs = _receive(connection)
    if request["module"] not in PROGRAMS or len(outputs) != 2:
        return 1
    parent, program = os.getpid(), os.fork()
    if program == 0:
        connection.close()
        _in_child(lambda: _become(request, outputs, parent, libc))
    for output in outputs:
        os.close(output)
    ended = os.pidfd_open(program)
    _tell(connection, {"pid": program})
    ready, _, _ = select.select([ended, connection.fileno()], [], [])
    if ended not in ready:  # the run has died: nobody says anything after its request
        _kill_group(program)
    _, status = os.waitpid(program, 0)
    _tell(connection, {"status": os.waitstatus_to_exitcode(status)})
    return 0


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request, a line of JSON, and the files that came with its first byte: the program's stdout and stderr."""
    said, outputs, _, _ = socket.recv_fds(connection, LARGEST, 2)
    while not said.endswith(b"\n") and len(said) < LARGEST:
        more = connection.recv(LARGEST)
        if not more:
            break
        said += more
    request: dict[str, Any] = json.loads(said)
    return request, list(outputs)


def _become(request: dict[str, Any], outputs: list[int], keeper: int, libc: Any) -> int:
    """Be the program: its session, its outputs, its environment, its threads."""
    os.setsid()
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    libc.prctl(_PR_SET_NAME, NAME)
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
    if threads := request["environment"].get("OMP_NUM_THREADS"):
        import torch  # noqa: PLC0415  loaded long ago

        torch.set_num_threads(int(threads))  # its own libraries have read the server's environment
    sys.argv = [request["module"], *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    return 0


def _in_child(work: Callable[[], int]) -> NoReturn:
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


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m llmops_assets.training.warm SOCKET")
    serve(Path(sys.argv[1]))
