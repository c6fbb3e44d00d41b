"""Walls around this process, put up from inside before it opens a stranger's file; none of them needs privileges.

Limits of the kernel on memory, processor time, open files and the size of files; and on Linux a filter on system
calls (seccomp), after which the process and its threads can neither start a program nor open a connection.
"""

import ctypes
import platform
import resource
import struct
import sys
from typing import Final

#: By machine: the number by which its kernel names it in a filter, and the calls that are refused.
#: socket, connect, bind, execve, execveat, kill, ptrace, process_vm_writev, mount, unshare, kexec_load, io_uring_setup.
_REFUSED: Final = {
    "x86_64": (0xC000003E, (41, 42, 49, 59, 322, 62, 101, 311, 165, 272, 246, 425)),
    "aarch64": (0xC00000B7, (198, 203, 200, 221, 281, 129, 117, 271, 40, 97, 104, 425)),
}
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # the instructions of a filter
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_X32: Final = 0x40000000  # from here on x86_64 takes the numbers of another calling convention
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def limit(*, memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Let the kernel end this process, or refuse its call, beyond these limits."""
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        _soft, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


def close_exits() -> bool:
    """Refuse programs and connections to this process from now on; whether this system could do that."""
    refused = _REFUSED.get(platform.machine())
    if sys.platform != "linux" or refused is None:
        return False
    code = _filter(*refused)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(machine: int, refused: tuple[int, ...]) -> bytes:
    """The filter's instructions: another machine's calls end the process, refused calls fail, all others pass."""

    def step(instruction: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", instruction, if_true, if_false, value)

    count = len(refused)
    return b"".join(
        [
            step(_LOAD, 4),
            step(_EQUAL, machine, 1, 0),
            step(_RETURN, _KILL),
            step(_LOAD, 0),
            step(_AT_LEAST, _X32, count + 1, 0),
            *(step(_EQUAL, number, count - index, 0) for index, number in enumerate(refused)),
            step(_RETURN, _ALLOW),
            step(_RETURN, _EPERM),
        ]
    )
