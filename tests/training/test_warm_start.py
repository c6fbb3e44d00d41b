"""The server that forks the training program: the same weights, nothing shared between jobs, and every death."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmops_assets import programs
from llmops_assets.claims import Cancelled
from llmops_assets.warm.asking import Forked, fork
from tests.training.programs import ARCHITECTURE, QUIET, TEXTS, prepare, train
from tests.waiting import PATIENCE, gone, until

pytestmark = [pytest.mark.slow]
PROGRAM = "llmops_assets.training.sft"
DIALS: dict[str, Any] = {"architecture": ARCHITECTURE, "maxTokens": 4_000, "batchSize": 4, "dropout": 0.1}
ROWS = [{"text": text} for text in TEXTS]
#: So long that no test sees its end.
ENDLESS: dict[str, Any] = {**DIALS, "maxTokens": 500_000_000, "epochs": 1_000}


class Server:
    """A running warm server."""

    def __init__(self, socket: Path, process: subprocess.Popen[bytes]) -> None:
        self.socket, self.process = socket, process


@contextlib.contextmanager
def serving(folder: Path, other: dict[str, Any] | None = None, **environment: str) -> Iterator[Server]:
    """The trainer, or one with `other` lists."""
    socket = folder / ("long " * 20) / "trainer.sock"  # longer than an address of a socket may be
    changed = f"import pathlib; from llmops_assets.warm import kits, server; kit = kits.Kit(**{other!r})"
    script = f"{changed}; server.serve(kit, pathlib.Path({str(socket)!r}))"
    command = [sys.executable, *(["-c", script] if other else ["-m", "llmops_assets.warm", "trainer", str(socket)])]
    process = subprocess.Popen(command, env=os.environ | QUIET | environment)
    try:
        until(lambda: socket.exists() or process.poll() is not None, "the server to listen")
        yield Server(socket, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("warm")) as running:
        yield running


def started(server: Server, work: Path, **environment: str) -> Forked:
    forked = fork(server.socket, PROGRAM, [str(work)], os.environ | QUIET | environment)
    assert forked is not None, "the server forked nothing"
    return forked


def training(server: Server, work: Path) -> Forked:
    """One that has begun to train."""
    forked = started(server, work)
    for line in forked.stdout:
        if '"loss"' in line:
            return forked
    raise AssertionError(f"it never trained: {forked.wait(PATIENCE)}\n{forked.stderr.read()}")


def test_a_forked_program_gives_the_bytes_of_one_that_was_started(server: Server, tmp_path: Path) -> None:
    threads = "2"  # the server has one, and what counts is what the program is told
    cold, warm = (prepare(tmp_path / name, "from_scratch", ROWS, **DIALS) for name in ("cold", "warm"))
    done = train(cold, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, RAYON_NUM_THREADS=threads)
    assert done.returncode == 0, done.stderr
    with started(
        server, warm, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, RAYON_NUM_THREADS=threads
    ) as forked:
        said = forked.stdout.read()
        assert forked.wait(PATIENCE) == 0, forked.stderr.read()
    assert said.count('"event": "done"') == 1
    weights = "output/model.safetensors"
    assert (cold / weights).read_bytes() == (warm / weights).read_bytes()


def test_a_run_uses_the_server_when_there_is_one_and_does_without_it_when_not(server: Server, tmp_path: Path) -> None:
    for socket in (server.socket, tmp_path / "none" / "trainer.sock"):
        work = prepare(tmp_path / socket.parent.name.strip(), "from_scratch", ROWS, **DIALS)
        told: list[programs.Event] = []
        programs.run(
            PROGRAM, work, environment=QUIET, on_event=told.append, should_stop=lambda: False, warm=socket
        )
        assert told[-1] == {"event": "done"}
        assert (work / "output" / "model.safetensors").exists()


def test_what_is_wrong_with_the_input_is_told_as_by_a_started_program(server: Server, tmp_path: Path) -> None:
    work = prepare(tmp_path / "work", "from_scratch", [{"other": "x"}], **DIALS)
    with started(server, work) as forked:
        assert forked.wait(PATIENCE) == 2
        assert '"refused"' in forked.stdout.read()
        assert "text" in forked.stderr.read()


def test_a_job_sees_its_own_environment_and_neither_the_servers_nor_anothers(tmp_path: Path) -> None:
    told = "tests.training.environment_program"
    with serving(tmp_path, {"programs": {told: "told"}, "loaded": ()}, OF_THE_SERVER="secret") as server:
        for number in range(2):
            mine = {"PATH": os.defpath, "JOB_TOKEN": f"token-{number}", f"ONLY_{number}": "x"}
            forked = fork(server.socket, told, [], mine)
            assert forked is not None
            with forked:
                seen = json.loads(forked.stdout.read())
                assert forked.wait(PATIENCE) == 0
            assert seen["own"] == mine
            assert seen["children"].items() >= mine.items()
            assert not {"OF_THE_SERVER", f"ONLY_{1 - number}"} & set(seen["children"])


def test_a_program_that_no_list_names_is_not_started(server: Server) -> None:
    assert fork(server.socket, "http.server", [], {}) is None
    assert server.process.poll() is None


def test_cancelling_ends_it_with_a_checkpoint(server: Server, tmp_path: Path) -> None:
    work = prepare(tmp_path / "work", "from_scratch", ROWS, **ENDLESS)
    told: list[programs.Event] = []
    with pytest.raises(Cancelled):
        programs.run(
            PROGRAM, work, environment=QUIET, on_event=told.append, warm=server.socket, grace=PATIENCE,
            should_stop=lambda: any(event.get("name") == "loss" for event in told),
        )  # fmt: skip
    assert any(event["event"] == "checkpoint" for event in told)


def test_it_dies_with_the_run_that_asked_for_it(server: Server, tmp_path: Path) -> None:
    work = prepare(tmp_path / "work", "from_scratch", ROWS, **ENDLESS)
    script = (
        "import os, sys, time; from pathlib import Path; from llmops_assets.warm.asking import fork\n"
        f"f = fork(Path({str(server.socket)!r}), {PROGRAM!r}, [{str(work)!r}], dict(os.environ))\n"
        "print(f.pid, flush=True)\nfor line in f.stdout:\n    print(line, flush=True)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], env=os.environ | QUIET, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    next(line for line in run.stdout if '"loss"' in line)
    assert not gone(pid)
    keeper = psutil.Process(pid).ppid()
    run.kill()
    run.communicate()
    until(lambda: gone(pid) and gone(keeper), "the program and its keeper to end")


def test_a_killed_keeper_takes_the_program_along_and_the_run_hears_of_it(server: Server, tmp_path: Path) -> None:
    with training(server, prepare(tmp_path / "work", "from_scratch", ROWS, **ENDLESS)) as forked:
        os.kill(psutil.Process(forked.pid).ppid(), signal.SIGKILL)
        assert forked.wait(PATIENCE) == -signal.SIGKILL
        until(lambda: gone(forked.pid), "the program to end")


def test_a_killed_program_is_told_as_what_it_died_of(server: Server, tmp_path: Path) -> None:
    with training(server, prepare(tmp_path / "work", "from_scratch", ROWS, **ENDLESS)) as forked:
        os.kill(forked.pid, signal.SIGKILL)
        assert forked.wait(PATIENCE) == -signal.SIGKILL


def test_what_is_in_training_outlives_the_server_and_still_tells_its_end(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        with training(server, prepare(tmp_path / "work", "from_scratch", ROWS, **ENDLESS)) as forked:
            server.process.kill()
            server.process.wait()
            assert next(line for line in forked.stdout if '"loss"' in line)
            reader = threading.Thread(target=forked.stdout.read)  # so that it never waits for us
            reader.start()
            os.killpg(forked.pid, signal.SIGTERM)
            assert forked.wait(PATIENCE) == 143
            reader.join()
        assert fork(server.socket, PROGRAM, [], {}) is None
