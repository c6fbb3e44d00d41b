"""Data parallel on CPU: two gloo processes beside one, each with one core, the same global batch.

The training loop is ours, started by torchrun as the platform starts it. A step of one process takes the whole batch,
a step of two half of it each, so that perfect sharing would take half the time: the efficiency is T1 / (2 × T2), T the
time of a step. By CPU it is C1 / (C2 of both processes), which says what sharing costs even where cores are shared.
First steps warm up and do not count. Rounds are interleaved, and the losses of both must be equal to 1e-5. "Half the
work" is one process with half the batch: what a step would take if sharing it cost nothing, which is fairer to sharing
where a smaller batch is less than half the work. "Strangers" are two such processes at once that share nothing but the
machine: what its two cores can give, as they may be two threads of one core, and share caches and memory in any case.

    python benchmarks/data_parallel.py [--steps 12] [--rounds 3]
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM

from llmops_assets.training.loop import Training
from llmops_assets.training.material import Material
from llmops_assets.training.metrics import Reporter
from llmops_assets.training.models import decoder
from llmops_assets.training.sft import start
from llmops_assets.training.sources import Packed
from llmops_resources.training.recipe import Recipe

LENGTH = 256
WARM = 4  # steps before the clock starts
SHAPES: dict[str, tuple[dict[str, int], int]] = {
    "1.1M parameters, 8 x 256 tokens a step": ({"hiddenSize": 128, "layers": 4}, 8),
    "3.7M parameters, 8 x 256 tokens a step": ({"hiddenSize": 256, "layers": 4}, 8),
}


class Clock(Reporter):
    """A reporter that notes when each step was reported, by wall and by CPU of this process."""

    def __init__(self) -> None:
        super().__init__({}, speaks=False)
        self.at: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def metric(self, name: str, step: int, value: float, unit: str = "") -> None:  # noqa: ARG002  as its base
        """Keeps the losses and their times."""
        if name == "loss":
            self.at.append((time.perf_counter(), time.process_time()))
            self.losses.append(value)


def child(folder: Path, shape: dict[str, int], batch: int, steps: int, processes: int) -> None:
    """One process of a run: its step times and losses, written to a file of its own."""
    torch.set_num_threads(1)
    dials = {
        "architecture": shape, "batchSize": batch, "optimizer": "adamw", "learningRate": 1e-3, "evaluations": 1,
        "maxTokens": (WARM + steps) * batch * LENGTH, "epochs": 1000, "dropout": 0.0,
    }  # fmt: skip
    recipe = Recipe.from_hyperparameters("pretrain", dials, use_gpu=False, processes=processes)
    architecture = recipe.architecture
    assert architecture is not None
    torch.manual_seed(0)
    model = LlamaForCausalLM(decoder(architecture))
    tokens = np.random.default_rng(0).integers(0, 2048, 400_000).astype(np.uint16)
    source = Packed(tokens, LENGTH, batch)
    material = Material(training=source, evaluation=source, held_out=[], rows={})
    clock = Clock()
    with clock, contextlib.redirect_stdout(io.StringIO()):
        accelerator = start(recipe)
        Training(folder, recipe, accelerator, clock, None).run(model, material)  # type: ignore[arg-type]
        measured = {
            "wall": (clock.at[-1][0] - clock.at[WARM - 1][0]) / steps,
            "cpu": (clock.at[-1][1] - clock.at[WARM - 1][1]) / steps,
            "losses": clock.losses,
        }
        (folder / f"{accelerator.process_index}.json").write_text(json.dumps(measured))
        accelerator.end_training()


def measure(shape: dict[str, int], batch: int, steps: int, processes: int) -> dict[str, Any]:
    """A step's wall seconds (of the slower process) and CPU seconds (of all), and the losses."""
    with tempfile.TemporaryDirectory() as folder:
        assert launch(Path(folder), shape, batch, steps, processes).wait() == 0
        return told(Path(folder), processes)


def strangers(shape: dict[str, int], batch: int, steps: int) -> dict[str, Any]:
    """The same of two processes at once that do not know of each other."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        both = [launch(Path(folder), shape, batch, steps, 1) for folder in (one, other)]
        assert [process.wait() for process in both] == [0, 0]
        each = [told(Path(folder), 1) for folder in (one, other)]
    return {"wall": max(run["wall"] for run in each), "cpu": sum(run["cpu"] for run in each)}


def launch(folder: Path, shape: dict[str, int], batch: int, steps: int, processes: int) -> "subprocess.Popen[bytes]":
    """Start a training whose processes write what they measured into the folder."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), __file__, "--child", str(folder)]
    quiet = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [*command, json.dumps(shape), str(batch), str(steps), str(processes)], env=os.environ | quiet
    )


def told(folder: Path, processes: int) -> dict[str, Any]:
    """What the processes of a training measured."""
    each = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]
    return {
        "wall": max(one["wall"] for one in each),
        "cpu": sum(one["cpu"] for one in each),
        "losses": each[0]["losses"],
    }


def report(name: str, shape: dict[str, int], batch: int, steps: int, rounds: int) -> None:
    ones, halves, twos, loose = [], [], [], []
    for _ in range(rounds):
        ones.append(measure(shape, batch, steps, 1))
        twos.append(measure(shape, batch, steps, 2))
        halves.append(measure(shape, batch // 2, steps, 1))
        loose.append(strangers(shape, batch // 2, steps))
    apart = max(abs(a - b) for a, b in zip(ones[0]["losses"], twos[0]["losses"], strict=True))

    def middle(values: list[float]) -> str:
        return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"

    pairs = list(zip(ones, twos, halves, strict=True))
    alone, shared = (statistics.median(1000 * run["wall"] for run in runs) for runs in (ones, twos))
    print(f"{name}: a step {alone:.0f} ms by one process, {shared:.0f} ms by two")
    print(f"  efficiency by wall: {middle([o['wall'] / 2 / t['wall'] for o, t, _ in pairs])}")
    print(f"  efficiency by CPU: {middle([o['cpu'] / t['cpu'] for o, t, _ in pairs])}")
    print(f"  efficiency by wall, beside half the work alone: {middle([h['wall'] / t['wall'] for _, t, h in pairs])}")
    beside = [stranger["wall"] / two["wall"] for two, stranger in zip(twos, loose, strict=True)]
    print(f"  efficiency by wall, beside two strangers: {middle(beside)}")
    print(f"  losses apart by at most {apart:.1e}: {'equal' if apart <= 1e-5 else 'NOT EQUAL'} to 1e-5", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        folder, dials, *numbers = sys.argv[2:]
        child(Path(folder), json.loads(dials), *map(int, numbers))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for name, (shape, batch) in SHAPES.items():
        report(name, shape, batch, arguments.steps, arguments.rounds)


if __name__ == "__main__":
    main()
