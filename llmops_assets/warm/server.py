"""A process that has imported what its programs need, and forks for each that is asked for: none waits for imports.

It listens on a Unix socket that its user alone may use. For every connection it forks a keeper
(`llmops_assets.warm.keeping`), and reads nothing itself, so that nobody's environment is ever seen by another's
program. When this server dies, programs that it began go on, and later ones are started without it.

With any thread beside its own the server refuses to fork, and it starts again when files of ours that it has imported
are no longer the same.
"""

import ctypes
import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from llmops_assets.warm.keeping import in_child, keep
from llmops_assets.warm.kits import Kit
from llmops_assets.warm.names import is_ours

_ONE: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_OURS: Final = ("llmops_assets", "llmops_resources")


def serve(kit: Kit, path: Path) -> None:
    """Import, then fork a keeper for each connection until files of ours change."""
    os.environ.update(dict.fromkeys(_ONE, "1") | dict(kit.environment))  # no pool may exist before a fork
    for name in kit.loaded:
        importlib.import_module(name)
    loaded, libc = _stamps(), ctypes.CDLL(None)  # after a fork nothing should be loaded
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers leave no zombies
    listener = _listen(path)
    gc.collect()
    gc.freeze()  # children need not look through what they share with us, which would copy it
    while True:
        connection, _ = listener.accept()
        with connection:
            if not is_ours(connection) or len(list(Path("/proc/self/task").iterdir())) > 1:
                continue
            if _stamps(loaded) != loaded:
                sys.exit("what was imported has changed: starting again")
            if os.fork() == 0:
                listener.close()
                in_child(partial(keep, kit, connection, libc))


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


def _stamps(paths: Mapping[str, object] | None = None) -> dict[str, tuple[int, int] | None]:
    """Time of the last change (ns) and size (bytes) of each file of ours that is loaded; None when it is gone."""
    if paths is None:
        modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in _OURS]
        paths = dict.fromkeys(file for module in modules if (file := getattr(module, "__file__", None)))
    return {path: _stamp(path) for path in paths}


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
