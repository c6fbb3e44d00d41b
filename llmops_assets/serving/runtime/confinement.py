"""What the server's process may not do, however strange its model or its callers are. Linux; elsewhere less."""

import ctypes
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Final

FILES: Final = 4096  # open files and connections
GPU_DRIVER: Final = Path("/dev/nvidiactl")
_PR_SET_NO_NEW_PRIVS: Final = 38


def confine(memory: int | None) -> None:
    """Bound this process: bytes of memory it may write to, open files, no core dumps, and no new privileges.

    Beyond its memory an allocation fails, which costs a batch its answers and not the machine its life. On a machine
    with a GPU memory is not bounded.
    """
    os.umask(0o077)
    _lower(resource.RLIMIT_CORE, 0)  # a dump would hold the prompts
    _lower(resource.RLIMIT_NOFILE, FILES)
    if memory is not None and not GPU_DRIVER.exists():
        # Data, and not the address space, much of which is reserved and never used. A GPU's driver reserves data too.
        _lower(resource.RLIMIT_DATA, memory)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def listening(host: str, port: int, stall: float) -> socket.socket:
    """A socket whose connections the kernel ends when the client has taken nothing for `stall` seconds.

    Raises OSError when the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))
    listener.bind((host, port))
    return listener


def _lower(what: int, to: int) -> None:
    hard = resource.getrlimit(what)[1]
    bound = to if hard == resource.RLIM_INFINITY else min(to, hard)
    resource.setrlimit(what, (bound, bound))
