"""How a detached program is found: an abstract Unix socket with its name, there as long as its keeper lives."""

import os
import socket
import sys


def address(name: str) -> bytes:
    """The address of the keeper of `name` (at most 80 bytes), for this user."""
    return b"\0llmops-" + f"{os.getuid()}-{name}".encode()


def is_ours(connection: socket.socket) -> bool:
    """Whether the other side is a process of our own user: everybody may connect to an abstract socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder) == os.getuid()
