"""A run that was ended goes on in the same bits, and a run that is cut up otherwise learns the same."""

import hashlib
import json
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
from safetensors.torch import load_file, save_file

from llmops_assets.training import sft
from llmops_assets.training.checkpoints import PROGRESS
from llmops_resources.errors import InvalidInput
from tests.training.programs import ARCHITECTURE, PAIRS, QUIET, TEXTS, command, events, prepare, train

ROWS = [{"text": text} for text in TEXTS]
SHORT: dict[str, Any] = {"architecture": ARCHITECTURE, "epochs": 2, "batch_size": 8, "evaluations": 3}


def weights(work: Path) -> str:
    return hashlib.sha256((work / "output/model.safetensors").read_bytes()).hexdigest()


def summary(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "output/training_summary.json").read_text())
    return found


def going_on(work: Path, again: Path, step: int) -> Path:
    """A second attempt's work folder, with the checkpoint that the first one wrote after `step`."""
    shutil.copytree(work, again, symlinks=True, ignore=shutil.ignore_patterns("output", "checkpoints", "tokens"))
    shutil.copytree(work / f"checkpoints/step-{step}", again / "resume")
    return again


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pre-trained model."""
    work = prepare(tmp_path_factory.mktemp("base") / "work", "pretrain", ROWS, **SHORT)
    sft.main(work)
    return work / "output"


@pytest.mark.parametrize(
    ("job_type", "dials"),
    [
        ("pretrain", {**SHORT, "dropout": 0.1}),
        ("pretrain", {**SHORT, "optimizer": "adamw", "gradient_accumulation": 2}),
        ("finetune", {"epochs": 2, "batch_size": 8, "dropout": 0.2}),
        ("finetune", {"epochs": 2, "batch_size": 8, "lora": {"rank": 2, "dropout": 0.1}}),
    ],
    ids=["pretrain with dropout", "adamw in pieces", "finetune with dropout", "lora with dropout"],
)
def test_a_run_that_goes_on_from_a_checkpoint_ends_in_the_same_weights(
    job_type: str, dials: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    finetune = job_type == "finetune"
    work = prepare(tmp_path / "w", job_type, PAIRS if finetune else ROWS, base if finetune else None,
                   checkpoint_steps=3, **dials)  # fmt: skip
    sft.main(work)
    again = going_on(work, tmp_path / "again", 6)
    sft.main(again)
    assert weights(again) == weights(work)
    assert summary(again)["curve"] == summary(work)["curve"]
    assert (summary(again)["tokens"], summary(again)["attempts"]) == (summary(work)["tokens"], 2)


def test_pieces_of_a_batch_teach_what_the_whole_batch_does(base: Path, tmp_path: Path) -> None:
    curves = []
    for name, pieces in (("whole", 1), ("cut", 3)):
        work = prepare(tmp_path / name, "finetune", PAIRS, base, epochs=2, batch_size=8, gradient_accumulation=pieces)
        sft.main(work)
        curves.append([point["loss"] for point in summary(work)["curve"]])
    assert curves[1] == pytest.approx(curves[0], abs=2e-5)


def test_an_adapter_changes_only_the_layers_it_is_on_and_is_merged(base: Path, tmp_path: Path) -> None:
    work = prepare(tmp_path / "w", "finetune", PAIRS, base, epochs=1, lora={"rank": 2, "targets": ["q_proj"]})
    sft.main(work)
    before, after = load_file(base / "model.safetensors"), load_file(work / "output/model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert changed == {"model.layers.0.self_attn.q_proj.weight"}
    assert summary(work)["trained_parameters"] < summary(work)["parameters"] / 10


def test_an_adapter_for_layers_that_do_not_exist_is_refused_with_those_that_do(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no adapter fits") as refused:
        sft.main(prepare(tmp_path / "w", "finetune", PAIRS, base, epochs=1, lora={"targets": ["attention"]}))
    assert "q_proj" in refused.value.remedy


def test_new_models_can_start_from_the_embeddings_or_the_weights_of_another(base: Path, tmp_path: Path) -> None:
    wider = {**ARCHITECTURE, "layers": 2}
    given = load_file(base / "model.safetensors")
    for strategy in ("pretrained_embeddings", "custom_weights"):
        work = prepare(tmp_path / strategy, "from_scratch", ROWS, base, **{**SHORT, "architecture": wider},
                       max_tokens=1, learning_rate=1e-9, initialization=strategy)  # fmt: skip
        sft.main(work)
        made = load_file(work / "output/model.safetensors")
        kept = {name for name in given if torch.allclose(given[name], made[name], atol=1e-5)}
        assert "model.embed_tokens.weight" in kept
        assert ("model.layers.0.mlp.up_proj.weight" in kept) is (strategy == "custom_weights")
        assert (work / "output/tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_embeddings_of_another_width_are_refused_with_the_width_that_fits(base: Path, tmp_path: Path) -> None:
    dials = {**SHORT, "architecture": {**ARCHITECTURE, "hiddenSize": 64}, "initialization": "pretrained_embeddings"}
    with pytest.raises(InvalidInput) as refused:
        sft.main(prepare(tmp_path / "w", "from_scratch", ROWS, base, **dials))
    assert "hiddenSize to 32" in refused.value.remedy


def test_weights_that_fit_nowhere_are_refused(base: Path, tmp_path: Path) -> None:
    dials = {**SHORT, "architecture": {**ARCHITECTURE, "hiddenSize": 64}, "initialization": "custom_weights"}
    with pytest.raises(InvalidInput, match="none of the"):
        sft.main(prepare(tmp_path / "w", "from_scratch", ROWS, base, **dials))


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    work = prepare(tmp_path / "w", "pretrain", ROWS, **SHORT, checkpoint_steps=5)
    sft.main(work)
    other = prepare(tmp_path / "other", "pretrain", ROWS, **SHORT, seed=9)
    shutil.copytree(work / "checkpoints/step-5", other / "resume")
    with pytest.raises(InvalidInput, match="another recipe"):
        sft.main(other)


def test_a_loss_that_is_no_number_ends_the_run_and_says_what_to_change(base: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidInput, match="the loss is nan at step 1") as refused:
        sft.main(prepare(tmp_path / "w", "finetune", PAIRS, broken, epochs=1))
    assert "learningRate" in refused.value.remedy
    assert not (tmp_path / "w/output").exists()


@pytest.mark.slow
def test_a_run_killed_while_it_saves_goes_on_from_the_last_whole_checkpoint(tmp_path: Path) -> None:
    whole = prepare(tmp_path / "whole", "pretrain", ROWS, **{**SHORT, "epochs": 6})
    sft.main(whole)
    work = prepare(tmp_path / "killed", "pretrain", ROWS, **{**SHORT, "epochs": 6}, checkpoint_steps=1)
    with subprocess.Popen(command(work), env=os.environ | QUIET, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if '"checkpoint"' in line)
        while not list((work / "checkpoints").glob(".step-*.part")):
            time.sleep(0.0005)
        process.kill()
    steps = [int(folder.name.removeprefix("step-")) for folder in (work / "checkpoints").glob("step-*")]
    assert all((work / f"checkpoints/step-{step}" / PROGRESS).is_file() for step in steps)
    again = going_on(work, tmp_path / "again", max(steps))
    sft.main(again)
    assert weights(again) == weights(whole)


def two_processes(work: Path) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [sys.executable, *torchrun, "-m", "llmops_assets.training.sft", str(work)]


def torchrun(work: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        two_processes(work), env=os.environ | QUIET, capture_output=True, text=True, check=False, timeout=280
    )


@pytest.mark.slow
def test_two_processes_learn_what_one_does_and_go_on_in_the_same_bits(tmp_path: Path) -> None:
    alone = prepare(tmp_path / "alone", "pretrain", ROWS, **SHORT)
    sft.main(alone)
    pair = prepare(tmp_path / "pair", "pretrain", ROWS, processes=2, **SHORT)
    done = torchrun(pair)
    assert done.returncode == 0, done.stderr
    assert [e["event"] for e in events(done.stdout, "done")] == ["done"]
    losses = [[point["loss"] for point in summary(work)["curve"]] for work in (alone, pair)]
    assert losses[1] == pytest.approx(losses[0], abs=2e-5)
    assert summary(pair)["eval_loss"] == pytest.approx(summary(alone)["eval_loss"], abs=1e-5)
    assert summary(pair)["tokens"] == summary(alone)["tokens"]

    work = prepare(tmp_path / "dropout", "pretrain", ROWS, processes=2, **SHORT, dropout=0.1, checkpoint_steps=4)
    assert torchrun(work).returncode == 0
    again = going_on(work, tmp_path / "again", 8)
    assert torchrun(again).returncode == 0
    assert weights(again) == weights(work)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_two_processes_that_share_one_model_learn_what_one_does(optimizer: str, tmp_path: Path) -> None:
    dials = {**SHORT, "optimizer": optimizer}
    alone = prepare(tmp_path / "alone", "pretrain", ROWS, **dials)
    sft.main(alone)
    cut = prepare(tmp_path / "cut", "pretrain", ROWS, processes=2, **dials, parallelism="fsdp", checkpoint_steps=4)
    done = torchrun(cut)
    assert done.returncode == 0, done.stderr
    assert summary(cut)["parallelism"] == "fsdp"
    losses = [[point["loss"] for point in summary(work)["curve"]] for work in (alone, cut)]
    assert losses[1] == pytest.approx(losses[0], abs=2e-5)
    assert summary(cut)["eval_loss"] == pytest.approx(summary(alone)["eval_loss"], abs=1e-5)
    assert summary(cut)["parameters"] == summary(alone)["parameters"]
    assert (cut / "output/config.json").read_text() == (alone / "output/config.json").read_text()
    one, two = (load_file(work / "output/model.safetensors") for work in (alone, cut))
    assert {name: tensor.shape for name, tensor in one.items()} == {name: tensor.shape for name, tensor in two.items()}
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-3

    again = going_on(cut, tmp_path / "again", 8)
    assert torchrun(again).returncode == 0
    assert weights(again) == weights(cut)


@pytest.mark.slow
def test_a_shared_model_killed_in_mid_training_goes_on_in_the_same_bits(base: Path, tmp_path: Path) -> None:
    dials: dict[str, Any] = {"epochs": 12, "batch_size": 8, "dropout": 0.1, "lora": {"rank": 2, "dropout": 0.1},
                             "parallelism": "fsdp", "processes": 2}  # fmt: skip
    unharmed = prepare(tmp_path / "unharmed", "finetune", PAIRS, base, **dials, checkpoint_steps=2)
    done = torchrun(unharmed)
    assert done.returncode == 0, done.stderr
    work = prepare(tmp_path / "killed", "finetune", PAIRS, base, **dials, checkpoint_steps=2)
    with subprocess.Popen(
        two_processes(work), env=os.environ | QUIET, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if '"checkpoint"' in line)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (work / "output").exists()
    steps = [int(folder.name.removeprefix("step-")) for folder in (work / "checkpoints").glob("step-*")]
    again = going_on(work, tmp_path / "again", max(steps))
    done = torchrun(again)
    assert done.returncode == 0, done.stderr
    assert weights(again) == weights(unharmed)
    assert weights(unharmed) != weights(base.parent)


@pytest.mark.slow
def test_sigterm_to_torchrun_ends_all_processes_with_one_checkpoint(tmp_path: Path) -> None:
    work = prepare(tmp_path / "w", "pretrain", ROWS, processes=2, **{**SHORT, "epochs": 900})
    with subprocess.Popen(two_processes(work), env=os.environ | QUIET, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if '"loss"' in line)
        process.send_signal(signal.SIGTERM)
        (saved,) = events(process.stdout.read(), "checkpoint")
        process.wait(60)
    assert (work / f"checkpoints/step-{saved['step']}" / PROGRESS).is_file()


def test_a_recipe_for_two_processes_is_refused_by_one(tmp_path: Path) -> None:
    done = train(prepare(tmp_path / "w", "pretrain", ROWS, processes=2, **SHORT))
    assert done.returncode == 2
    (said,) = events(done.stdout, "refused")
    assert "torchrun" in said["remedy"]
