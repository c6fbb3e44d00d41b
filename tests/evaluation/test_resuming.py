"""An evaluation whose process is killed goes on where it was, and comes to what it would have come to."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from llmops_assets.evaluation import score as program
from llmops_assets.evaluation.partial import PARTIAL, Partial
from tests.tiny_model import write_tiny_model

ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
ROWS = 640  # twenty batches to answer and twenty to read


def prepared(work: Path, model: Path, **suite: object) -> Path:
    (work / "data").mkdir(parents=True)
    rows = [{"question": f"What {'really ' * (n % 7)}follows {n}?", "answer": f"It is {n + 1}."} for n in range(ROWS)]
    pl.DataFrame(rows).write_csv(work / "data/rows.csv")
    (work / "model").symlink_to(model)
    (work / "suite.json").write_text(json.dumps({"maxNewTokens": 40, "metrics": ["f1", "perplexity"], **suite}))
    return work


def figures(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "result.json").read_text())
    del found["protocol"]["seconds"]
    return found


def parts(work: Path) -> list[str]:
    lines = (work / PARTIAL).read_text().splitlines() if (work / PARTIAL).exists() else []
    return [json.loads(line)["name"] for line in lines[1:]]


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_has_the_figures_of_one_that_was_not(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    work = prepared(tmp_path / "killed", model)
    command = [sys.executable, "-m", "llmops_assets.evaluation.score", str(work)]
    with subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 120
        while not (work / PARTIAL).exists() or (work / PARTIAL).read_bytes().count(b"\n") < 4:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        running.kill()
    assert running.returncode == -signal.SIGKILL
    assert not (work / "result.json").exists()
    with (work / PARTIAL).open("ab") as file:
        file.write(b'{"name":"answers/5')  # as a process leaves it that dies while it writes
    before = (work / PARTIAL).read_bytes().rpartition(b"\n")[0]

    program.main(work)
    assert (work / PARTIAL).read_bytes().startswith(before + b"\n")
    done = parts(work)
    assert len(done) == len(set(done)) == 40
    whole = prepared(tmp_path / "whole", model)
    program.main(whole)
    assert figures(work) == figures(whole)


def test_parts_of_other_work_are_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / PARTIAL
    with Partial(path, "these questions") as once:
        assert once("answers/0", lambda: [[1, 2]]) == [[1, 2]]
    with Partial(path, "these questions") as once:
        assert once("answers/0", lambda: pytest.fail("it was done before")) == [[1, 2]]
    with Partial(path, "others") as once:
        assert len(once) == 0
        assert once("answers/0", lambda: [[3]]) == [[3]]
    with Partial(path, "others") as once:
        assert once("answers/0", lambda: pytest.fail("it was done before")) == [[3]]


@pytest.mark.parametrize("left", [1, 5, 30, 60])
def test_a_file_cut_off_anywhere_keeps_its_whole_parts_and_takes_more(tmp_path: Path, left: int) -> None:
    path = tmp_path / PARTIAL
    with Partial(path, "w") as once:
        for at in range(3):
            once(f"part/{at}", lambda at=at: [at])
    path.write_bytes(path.read_bytes()[:-left])
    for _ in range(2):
        with Partial(path, "w") as once:
            assert [once(f"part/{at}", lambda at=at: [at]) for at in range(3)] == [[0], [1], [2]]
    assert path.read_bytes().count(b"\n") == 4
