"""A lock is one process's at a time, on what lies at its path now; a process that dies lets go of it."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_resources.locking import NoLocksError, take

HOLD = """
import os, sys
from pathlib import Path
from llmops_resources.locking import take
print(take(Path(sys.argv[1]), lambda path: os.open(path, os.O_RDWR | os.O_CREAT)) is not None, flush=True)
sys.stdin.read()
"""


def _made(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT)


def _open_handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_lock_is_free_again_when_its_holder_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert take(path, _made) is None
        holder.kill()
        holder.wait()
    handle = take(path, _made)
    assert handle is not None
    os.close(handle)


def test_what_was_replaced_while_it_was_opened_is_opened_again(tmp_path: Path) -> None:
    path, opened, before = tmp_path / "lock", [], _open_handles()

    def replaced_once(path: Path) -> int:
        opened.append(_made(path))
        if len(opened) == 1:
            path.unlink()
        elif len(opened) == 2:
            path.rename(tmp_path / "aside")
            path.touch()
        return opened[-1]

    handle = take(path, replaced_once)
    assert handle is not None
    assert os.path.samestat(os.fstat(handle), path.stat())
    assert len(opened) == 3
    os.close(handle)
    assert _open_handles() == before


def test_a_disk_without_locks_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _open_handles()

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(NoLocksError, match="No locks"):
        take(tmp_path / "lock", _made)
    assert _open_handles() == before
