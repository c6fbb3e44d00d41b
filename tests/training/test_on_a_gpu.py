"""The training program, the local runtime and an evaluation's answers on a GPU; skipped where there is none.

CI has no GPU: run `pytest tests/training/test_on_a_gpu.py` on a machine that has one. docs/rooms/training.md says where
it was last run.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from llmops_assets.training import sft
from llmops_resources.training import failures
from llmops_resources.training.failures import RootCause
from llmops_resources.training.memory import GIB, estimate
from llmops_resources.training.recipe import Recipe
from tests.training.programs import PAIRS, QUIET, TEXTS, command, events, prepare, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

ROWS = [{"text": text} for text in TEXTS]
SMALL: dict[str, Any] = {
    "architecture": {"hiddenSize": 128, "layers": 2, "heads": 4, "vocabSize": 400, "contextLength": 128},
    "epochs": 20, "batch_size": 8, "evaluations": 3,
}  # fmt: skip
#: As large as GPT-2 small.
LARGE: dict[str, Any] = {
    "architecture": {"hiddenSize": 768, "layers": 12, "heads": 12, "intermediateSize": 2048, "vocabSize": 300,
                     "contextLength": 1024},
    "epochs": 1000, "batch_size": 16, "evaluations": 1, "compile": False,
}  # fmt: skip


def summary(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "output/training_summary.json").read_text())
    return found


def losses(work: Path) -> list[float]:
    return [point["loss"] for point in summary(work)["curve"]]


def recipe_of(work: Path) -> Recipe:
    return Recipe.model_validate_json((work / "recipe.json").read_bytes())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that was trained on the GPU."""
    work = prepare(tmp_path_factory.mktemp("base") / "work", "pretrain", ROWS, use_gpu=True, **SMALL)
    sft.main(work)
    return work


def test_a_model_is_trained_on_the_gpu_in_bfloat16_and_says_so(trained: Path) -> None:
    curve = losses(trained)
    assert summary(trained)["device"] == torch.cuda.get_device_name()
    assert curve[-1] < curve[0] / 2
    assert all(map(math.isfinite, curve))


def test_the_use_of_the_gpu_is_among_the_metrics(tmp_path: Path) -> None:
    done = train(prepare(tmp_path / "w", "pretrain", ROWS, use_gpu=True, **SMALL))
    assert done.returncode == 0, done.stderr
    names = {event["name"] for event in events(done.stdout, "metric")}
    assert {"system/gpu_0_memory_bytes", "system/gpu_0_percent", "system/gpu_0_power_watts"} <= names


def test_the_same_in_float32_on_the_gpu_and_on_the_cpu_learns_the_same(tmp_path: Path) -> None:
    dials = {**SMALL, "epochs": 2, "precision": "fp32"}
    curves = []
    for use_gpu in (True, False):
        done = train(work := prepare(tmp_path / str(use_gpu), "pretrain", ROWS, use_gpu=use_gpu, **dials))
        assert done.returncode == 0, done.stderr
        assert (summary(work)["device"] == torch.cuda.get_device_name()) is use_gpu
        curves.append(losses(work))
    print("losses on the GPU and the CPU apart by at most", max(abs(a - b) for a, b in zip(*curves, strict=True)))
    assert curves[0] == pytest.approx(curves[1], abs=5e-3)


@pytest.mark.parametrize("dials", [{"dropout": 0.1}, {"optimizer": "adamw", "gradient_accumulation": 2}], ids=str)
def test_a_run_on_the_gpu_that_is_killed_goes_on_with_the_same_curve(dials: dict[str, Any], tmp_path: Path) -> None:
    more = {**SMALL, **dials, "checkpoint_steps": 5, "epochs": 40}
    sft.main(whole := prepare(tmp_path / "whole", "pretrain", ROWS, use_gpu=True, **more))
    cut = prepare(tmp_path / "cut", "pretrain", ROWS, use_gpu=True, **more)
    process = subprocess.Popen(command(cut), env=os.environ | QUIET, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(cut.glob("checkpoints/step-1?")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = max(cut.glob("checkpoints/step-*"), key=lambda path: int(path.name.split("-")[1]))
    assert not (cut / "output").exists()
    again = tmp_path / "again"
    shutil.copytree(cut, again, symlinks=True, ignore=shutil.ignore_patterns("checkpoints", "tokens"))
    shutil.copytree(last, again / "resume")
    sft.main(again)
    apart = max(abs(a - b) for a, b in zip(losses(whole), losses(again), strict=True))
    print(f"went on from {last.name}: losses apart by at most {apart}")
    assert summary(again)["attempts"] == 2
    assert apart < 2e-2


def test_an_adapter_and_a_compiled_step_train_on_the_gpu(trained: Path, tmp_path: Path) -> None:
    base = trained / "output"
    sft.main(work := prepare(tmp_path / "lora", "finetune", PAIRS, base, use_gpu=True, epochs=4, lora={"rank": 4}))
    assert losses(work)[-1] < losses(work)[0]
    compiled = {**SMALL, "epochs": 4, "compile": True, "max_tokens": 8 * 128 * 10}
    sft.main(work := prepare(tmp_path / "compiled", "pretrain", ROWS, use_gpu=True, **compiled))
    assert losses(work)[-1] < losses(work)[0]


def test_the_estimate_of_memory_holds_what_a_real_step_takes_without_wasting_half(tmp_path: Path) -> None:
    work = prepare(tmp_path / "w", "pretrain", ROWS * 20, use_gpu=True, **LARGE, max_tokens=16 * 1024 * 3)
    recipe = recipe_of(work)
    assert recipe.architecture is not None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    sft.main(work)
    taken, need = torch.cuda.max_memory_reserved(), estimate(recipe, recipe.architecture).total
    print(f"a step took {taken / GIB:.1f} GiB, {need / GIB:.1f} GiB were estimated")
    assert taken < need < 2 * taken + GIB


def test_a_batch_that_does_not_fit_is_told_as_out_of_memory_with_what_to_change(tmp_path: Path) -> None:
    work = prepare(tmp_path / "w", "pretrain", ROWS * 200, use_gpu=True, **{**LARGE, "batch_size": 16})
    hoard = torch.empty(torch.cuda.mem_get_info()[0] - 3 * GIB, dtype=torch.uint8, device="cuda")
    try:
        done = train(work)
    finally:
        del hoard
        torch.cuda.empty_cache()
    assert done.returncode != 0
    why = failures.of_exit(done.returncode, done.stderr)
    assert why.tag is RootCause.OUT_OF_MEMORY
    assert "batch" in why.remedy
    assert not (work / "output").exists()


def test_answers_of_the_gpu_are_those_of_the_cpu(trained: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; import llmops_assets.evaluation.generate as g\n"
        "model, tokenizer = g.load(Path(sys.argv[1]))\n"
        "told = g.answers(model, tokenizer, json.loads(sys.argv[2]), 12, lambda _: None)\n"
        "print(json.dumps([str(model.device), [answer.text for answer in told]]))"
    )
    asked = json.dumps([f"The number {n} follows" for n in range(20)])
    told = []
    for visible in ("0", ""):
        done = subprocess.run(
            [sys.executable, "-c", code, str(trained / "output"), asked], check=True, capture_output=True, text=True,
            env=os.environ | QUIET | {"CUDA_VISIBLE_DEVICES": visible},
        )  # fmt: skip
        told.append(json.loads(done.stdout.splitlines()[-1]))
    assert [device for device, _ in told] == ["cuda:0", "cpu"]
    same = sum(a == b for a, b in zip(told[0][1], told[1][1], strict=True))
    print(f"{same} of 20 answers are identical")
    assert same >= 18
