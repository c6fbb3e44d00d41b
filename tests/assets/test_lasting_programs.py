"""Programs that outlive who asked for them, as Dagster's runs do: started once, found by name, and every death."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from llmops_assets.warm import asking
from llmops_assets.warm.kits import KITS
from tests.waiting import PATIENCE, gone, until

pytestmark = pytest.mark.slow
PROGRAM = "tests.assets.lasting_program"
KIT: dict[str, Any] = {"loaded": (PROGRAM,), "programs": {PROGRAM: "lasting"}, "ended": f"{PROGRAM}:ended"}
ANSWERS = {"ready", "taken"}


class Server:
    """A warm server, and programs asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "warm.sock"
        script = (
            "import pathlib; from llmops_assets.warm import kits, server; "
            f"server.serve(kits.Kit(**{KIT!r}), pathlib.Path({str(self.socket)!r}))"
        )
        self.process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OF_THE_SERVER": "secret"})
        until(self.socket.exists, "the server to listen")

    def detach(self, name: str, status: int = 0) -> dict[str, Any]:
        """A detached program that has begun; what it wrote down."""
        told = self.folder / f"{name}.json"
        environment = {"PATH": os.defpath, "ENDED": str(self.folder / f"{name}.ended"), "ONLY": name}
        assert asking.detach(self.socket, name, PROGRAM, [str(told), str(status)], environment)
        seen: dict[str, Any] = json.loads(until(lambda: told.exists() and told.read_text(), "the program to begin"))
        return seen

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.end()


@pytest.fixture
def name() -> Iterator[str]:
    made = f"test-{uuid4()}"
    yield made
    asking.stop(made)


def test_it_has_a_session_its_own_environment_and_nothing_that_is_open_but_the_three_streams(
    server: Server, name: str
) -> None:
    seen = server.detach(name)
    assert seen["environment"] == {
        "PATH": os.defpath, "ENDED": str(server.folder / f"{name}.ended"), "ONLY": name,
    }  # fmt: skip
    assert set(seen["files"]) == {"0", "1", "2"}
    assert seen["files"]["0"] == os.devnull
    assert seen["threads"] == 1
    assert seen["group"] == seen["pid"]
    assert seen["folder"] == str(Path.cwd())


def test_it_is_stopped_by_its_name_and_its_good_end_is_told_to_nobody(server: Server, name: str) -> None:
    seen = server.detach(name)
    keeper = psutil.Process(seen["pid"]).ppid()
    assert asking.stop(name)
    until(lambda: gone(seen["pid"]) and gone(keeper), "the program and its keeper to end")
    assert not asking.stop(name)
    assert not (server.folder / f"{name}.ended").exists()


def test_a_name_that_is_running_is_not_started_again(server: Server, name: str) -> None:
    seen = server.detach(name)
    assert server.detach(name) == seen
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert [child.pid for child in children if child.name() == "lasting"] == [seen["pid"]]


def test_whoever_asks_and_dies_before_saying_go_has_started_nothing(server: Server, name: str) -> None:
    told = server.folder / "never.json"
    request = {
        "module": PROGRAM, "arguments": [str(told), "0"], "folder": ".", "environment": {}, "lasting": True,
        "name": name,
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(server.socket))
        connection.sendall(json.dumps(request).encode() + b"\n")
        assert json.loads(connection.recv(100)).keys() <= ANSWERS
    until(lambda: not psutil.Process(server.process.pid).children(), "its keeper to end")
    assert not told.exists()
    assert server.detach(name)["pid"], "the name is free again"


@pytest.mark.parametrize("death", ["its exit status", "a signal"])
def test_its_bad_end_is_told_once(server: Server, name: str, death: str) -> None:
    seen = server.detach(name, status=3)
    told = server.folder / f"{name}.ended"
    if death == "a signal":
        os.kill(seen["pid"], signal.SIGKILL)
    else:
        asking.stop(name)
    assert until(lambda: told.exists() and told.read_text(), "its end to be told") == (
        f"{name} -9" if death == "a signal" else f"{name} 3"
    )


def test_it_outlives_the_server_and_is_still_stopped_by_its_name(server: Server, name: str) -> None:
    seen = server.detach(name)
    server.end()
    time.sleep(0.2)
    assert not gone(seen["pid"])
    assert not asking.detach(server.socket, f"{name}-2", PROGRAM, ["x", "0"], {}), "there is nobody to ask"
    assert asking.stop(name)
    until(lambda: gone(seen["pid"]), "the program to end")


def test_it_outlives_who_asked_for_it_and_dies_with_its_keeper(server: Server, name: str) -> None:
    script = (
        "import os, sys; from pathlib import Path; from llmops_assets.warm import asking\n"
        f"told = {str(server.folder / 'asked.json')!r}\n"
        f"assert asking.detach(Path({str(server.socket)!r}), {name!r}, {PROGRAM!r}, [told, '0'], dict(os.environ))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    told = server.folder / "asked.json"
    seen = json.loads(until(lambda: told.exists() and told.read_text(), "the program to begin"))
    os.kill(psutil.Process(seen["pid"]).ppid(), signal.SIGKILL)
    until(lambda: gone(seen["pid"]), "the program to end")
    assert not asking.stop(name), "its name is free"


def test_one_that_is_watched_tells_its_end_as_a_started_process_does(server: Server, tmp_path: Path) -> None:
    told = tmp_path / "watched.json"
    kept = asking.start(server.socket, PROGRAM, [str(told), "4"], {"PATH": os.defpath})
    assert kept is not None
    until(told.exists, "the program to begin")
    assert kept.poll() is None
    kept.terminate()
    assert kept.wait(PATIENCE) == 4 == kept.poll()


def test_nothing_is_forked_from_a_server_with_a_thread_or_with_files_that_have_changed(
    tmp_path: Path, name: str
) -> None:
    for number, change in enumerate(("threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "")):
        path = tmp_path / f"{number}.sock"
        script = (
            "import pathlib, threading, time; from llmops_assets.warm import kits, server; " + (change or "pass") + "\n"
            f"{'' if change else 'server._stamp = lambda path: (time.monotonic_ns(), 0)'}\n"
            f"server.serve(kits.Kit(**{KIT!r}), pathlib.Path({str(path)!r}))"
        )
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        try:
            until(path.exists, "the server to listen")
            assert not asking.detach(path, name, PROGRAM, ["x", "0"], {})
            if not change:
                assert process.wait(PATIENCE) == 1, "it starts again"
        finally:
            process.kill()
            process.wait()


def test_a_program_that_no_list_names_is_not_started(server: Server) -> None:
    assert asking.start(server.socket, "http.server", [], {}) is None
    assert KITS["launcher"].name_of("dagster", ["api", "execute_run", "{}"]) == "llmops-run"
    assert KITS["launcher"].name_of("dagster", ["dev"]) is None


@pytest.mark.parametrize("kit", sorted(KITS))
def test_what_is_imported_before_a_fork_starts_no_thread_and_no_library_whose_threads_would_be_missing(
    kit: str,
) -> None:
    script = (
        "import importlib, os, sys; from llmops_assets.warm.kits import KITS\n"
        f"kit = KITS[{kit!r}]\n"
        "for name in kit.loaded: importlib.import_module(name)\n"
        "assert 'polars' not in sys.modules and len(os.listdir('/proc/self/task')) == 1\n"
        "if 'torch' not in sys.modules: assert not {'numpy', 'pyarrow', 'huggingface_hub'} & set(sys.modules)\n"
        "sockets = [f for f in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{f}') "
        "and os.readlink(f'/proc/self/fd/{f}').startswith('socket:') and int(f) > 2]\n"
        "assert not sockets, sockets\n"
    )
    environment = {**os.environ, **KITS[kit].environment, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
