"""Asking a warm server (`llmops_assets.warm.server`) for a program.

Attached, or lasting and watched, it has the shape of a `subprocess.Popen`; a lasting one may have a name instead, by
which it is stopped (`llmops_assets.warm.keeping`).
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from llmops_assets.warm.names import address, is_ours

PATIENCE: Final = 5.0  # seconds for the server to answer; then the program is started without it
KILLED: Final = -9  # of a program whose keeper died: the kernel killed it


class Kept:
    """`pid`, `returncode`, `poll`, `wait` and `terminate` as `Popen` has them."""

    def __init__(self, connection: socket.socket, pid: int, args: list[str]) -> None:
        self._connection = connection
        self.pid, self.args = pid, args
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._status(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises subprocess.TimeoutExpired."""
        if (status := self._status(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return status

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def _status(self, timeout: float | None) -> int | None:
        if self.returncode is None and (told := _hear(self._connection, timeout)) is not None:
            self.returncode = told.get("status", KILLED)
            self._connection.close()
        return self.returncode


class Forked(Kept):
    """With `stdout` and `stderr`, and attached: closing the connection ends the program."""

    def __init__(self, connection: socket.socket, stdout: IO[str], stderr: IO[str], pid: int, args: list[str]) -> None:
        super().__init__(connection, pid, args)
        self.stdout, self.stderr = stdout, stderr

    def __enter__(self) -> "Forked":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stdout.close()
        self.stderr.close()
        self._connection.close()


def fork(path: Path, module: str, arguments: list[str], environment: Mapping[str, str]) -> Forked | None:
    """Have `python -m module arguments…` forked; None when there is no such server or it is not able to."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    ours: list[int] = []
    try:
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        ours = [out, err]
        try:
            _ask(connection, path, _request(module, arguments, environment), [its_out, its_err])
        finally:
            os.close(its_out)
            os.close(its_err)
        told = _hear(connection, PATIENCE)
        if told is None or "pid" not in told:
            raise ConnectionError("the server forked nothing")
    except OSError:
        connection.close()
        for handle in ours:
            os.close(handle)
        return None
    streams = [os.fdopen(handle, errors="replace") for handle in ours]
    return Forked(connection, streams[0], streams[1], told["pid"], [module, *arguments])


def start(path: Path, module: str, arguments: list[str], environment: Mapping[str, str]) -> Kept | None:
    """Have `python -m module arguments…` forked, with our outputs, to outlive us; None when it will not be started."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        request = _request(module, arguments, environment, lasting=True)
        began = "ready" in _begin(connection, path, request, [1, 2])
        told = (_hear(connection, None) or {}) if began else {}
        if "pid" not in told:
            raise ConnectionError("the server forked nothing")
    except OSError:
        connection.close()
        return None
    return Kept(connection, told["pid"], [module, *arguments])


def detach(path: Path, name: str, module: str, arguments: list[str], environment: Mapping[str, str]) -> bool:
    """Have `python -m module arguments…` forked, to outlive us; whether it is, or already was, under this name.

    False means that it was not started and will not be.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            told = _begin(connection, path, _request(module, arguments, environment, lasting=True, name=name), [])
        except OSError:
            return False
    return bool({"ready", "taken"} & told.keys())


def stop(name: str) -> bool:
    """Send SIGTERM to a detached program; False when none has this name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(PATIENCE)
            connection.connect(address(name))
            return is_ours(connection) and "asked" in (_hear(connection, PATIENCE) or {})
        except OSError:
            return False


def _request(
    module: str, arguments: list[str], environment: Mapping[str, str], *, lasting: bool = False, name: str = ""
) -> dict[str, Any]:
    return {
        "module": module, "arguments": arguments, "folder": str(Path.cwd()), "environment": dict(environment),
        "lasting": lasting, "name": name,
    }  # fmt: skip


def _begin(connection: socket.socket, path: Path, request: Mapping[str, Any], files: list[int]) -> dict[str, Any]:
    """Ask for a lasting program and have it started; what the server said. Raises OSError when it is not started."""
    _ask(connection, path, request, files)
    told = _hear(connection, PATIENCE) or {}
    if "ready" in told:
        connection.sendall(b"go\n")
    return told


def _ask(connection: socket.socket, path: Path, request: Mapping[str, Any], files: list[int]) -> None:
    connection.settimeout(PATIENCE)
    _connect(connection, path)
    said = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [said], files)
    connection.sendall(said[sent:])


def _connect(connection: socket.socket, path: Path) -> None:
    """By way of the folder's descriptor: a socket's path may have no more than a hundred characters."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _hear(connection: socket.socket, timeout: float | None) -> dict[str, Any] | None:
    """The next thing said, {} when the other side is gone, None when nothing was said in time."""
    line, end = b"", None if timeout is None else time.monotonic() + timeout
    while not line.endswith(b"\n"):
        connection.settimeout(None if end is None else max(0.0, end - time.monotonic()))
        try:
            piece = connection.recv(1)
        except (TimeoutError, BlockingIOError):
            if not line:
                return None
            end = None  # a line that has begun is short, and its end is there
            continue
        except OSError:
            return {}
        if not piece:
            return {}
        line += piece
    with contextlib.suppress(ValueError):
        told: dict[str, Any] = json.loads(line)
        return told
    return {}
