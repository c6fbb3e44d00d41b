"""Becomes the command it is given, after asking the kernel to end it when its supervisor dies, however that happens.

Run as a file, before any import of ours, so that it costs a few milliseconds: python -I -S child.py SUPERVISOR COMMAND…
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arguments: the supervisor's process id, then the command."""
    supervisor, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":  # elsewhere the next start finds left-over processes by their environment
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != supervisor:  # it died before we asked
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - our own command, and no shell is wanted


if __name__ == "__main__":
    main()
