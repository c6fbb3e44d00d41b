"""A local folder when the process is killed or the disk is full: real processes, real limits."""

import os
import resource
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from llmops_resources.blobs import open_blobs
from llmops_resources.errors import Unavailable

WRITER = """
import sys, time
from llmops_resources.blobs import open_blobs
def chunks():
    for number in range(10_000):
        yield bytes(4_000_000)
        print(number, flush=True)
        time.sleep(0.01)
open_blobs(sys.argv[1]).write("datasets/a/1/x", chunks())
"""


def test_a_writer_that_is_killed_leaves_nothing_visible_and_the_sweep_removes_the_rest(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path.as_uri()], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    while writer.stdout.readline().strip() != b"8":  # the first parts are on the disk
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()

    blobs = open_blobs(tmp_path.as_uri())
    assert list(blobs.list("datasets")) == []
    assert not blobs.exists("datasets/a/1/x")
    assert any(path.is_file() for path in tmp_path.rglob("*"))
    assert blobs.sweep("datasets", timedelta(seconds=-60)) == 1
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert blobs.write("datasets/a/1/x", [b"again"]).size == 5


LIMITED = """
import sys
from llmops_resources.blobs import open_blobs
from llmops_resources.errors import Unavailable
try:
    open_blobs(sys.argv[1]).write("datasets/a/1/x", (bytes(1_000_000) for _ in range(30)))
except Unavailable as error:
    print(error, "|", error.remedy)
"""


def test_a_full_disk_is_told_with_a_remedy_and_leaves_no_half_object(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path.as_uri()],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000_000, 9_000_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "no room left" in finished.stdout
    assert "Free disk space" in finished.stdout
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


PIECE = """
import sys
from llmops_resources.blobs import open_blobs, slot
from llmops_resources.errors import Unavailable
blobs = open_blobs(sys.argv[1])
with slot(blobs, "staging/a/0001.whole", 0) as place:
    place.write([bytes(5_000_000)])
with slot(blobs, "staging/a/0001.whole", 5_000_000) as place:
    try:
        place.write(bytes(1_000_000) for _ in range(30))
    except Unavailable as error:
        print(error, "|", error.remedy)
"""


def test_a_disk_that_is_full_in_the_middle_of_a_file_keeps_the_pieces_before(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PIECE, tmp_path.as_uri()],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000_000, 9_000_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "no room left" in finished.stdout
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()] == [5_000_000]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tiny file system needs root")
def test_a_full_file_system_is_told_with_a_remedy_and_leaves_no_half_object(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this sandbox does not allow mounts")
    try:
        blobs = open_blobs(tmp_path.as_uri())
        with pytest.raises(Unavailable, match="no room left"):
            blobs.write("datasets/a/1/x", (bytes(1_000_000) for _ in range(30)))
        assert list(blobs.list("datasets")) == []
        assert blobs.write("datasets/a/1/x", [b"small"]).size == 5
    finally:
        time.sleep(0.1)
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable):
        open_blobs((tmp_path / "file" / "objects").as_uri())


def test_memory_stays_bounded_while_a_large_object_is_written_and_read(tmp_path: Path) -> None:
    program = """
import resource, sys
from llmops_resources.blobs import open_blobs
blobs = open_blobs(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
blobs.write("d/a/1/x", (bytes(1_000_000) for _ in range(600)))
for _ in blobs.read("d/a/1/x"):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    finished = subprocess.run(
        [sys.executable, "-c", program, tmp_path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(finished.stdout) < 150_000  # KiB, for 600 MB
