"""Work folders of the training program, and the program as the platform runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from llmops_resources.training.recipe import Recipe

QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
ARCHITECTURE = {"hiddenSize": 32, "layers": 1, "heads": 2, "vocabSize": 300, "contextLength": 64}
TEXTS = [f"The number {n} follows the number {n - 1} and comes before {n + 1}." for n in range(200)]
PAIRS = [{"question": f"What follows {n}?", "answer": f"It is {n + 1}."} for n in range(40)]


def prepare(
    work: Path, job_type: str, rows: list[dict[str, Any]], base: Path | None = None, *,
    processes: int = 1, use_gpu: bool = False, **dials: Any,
) -> Path:  # fmt: skip
    (work / "data").mkdir(parents=True)
    pl.DataFrame(rows).write_parquet(work / "data/rows.parquet")
    recipe = Recipe.from_hyperparameters(job_type, dials, use_gpu=use_gpu, processes=processes)
    (work / "recipe.json").write_text(json.dumps(recipe.json_dict()))
    if base is not None:
        (work / "base").symlink_to(base)
    return work


def command(work: Path) -> list[str]:
    return [sys.executable, "-m", "llmops_assets.training.sft", str(work)]


def train(work: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(work), env=os.environ | QUIET | environment, capture_output=True, text=True, check=False, timeout=280
    )


def events(stdout: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in map(json.loads, stdout.splitlines()) if event["event"] == kind]
