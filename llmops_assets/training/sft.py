"""The program that trains, from top to bottom: `python -m llmops_assets.training.sft WORK_DIR`.

Reads `recipe.json`, `data/`, `base/` if the recipe starts from another model, and `resume/` if there is a checkpoint
to go on from; writes `checkpoints/` as it goes and `output/`, which exists only when it is complete. Several processes
are started with `torchrun`, and share every step's batch. It knows no Dagster and no database.

The same recipe, data, machine, thread and process count give the same weights, whether or not the run was ended in
between. Exit status: 0 done, 2 the input is at fault (the reason is on stderr and an event), 143 ended by SIGTERM,
with a checkpoint if it had begun to train.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from llmops_assets.training import environment
from llmops_assets.training.card import model_card
from llmops_assets.training.loop import Terminated, Training
from llmops_assets.training.material import base_and_pairs, new_model_and_text
from llmops_assets.training.metrics import Reporter, refused
from llmops_assets.training.models import merged
from llmops_assets.training.system import SystemMetrics
from llmops_resources.errors import Conflict, InvalidInput, PlatformError
from llmops_resources.training.recipe import JobType, Precision, Recipe

INPUT_AT_FAULT: Final = 2
TERMINATED: Final = 143


def main(work: Path) -> None:
    """Trains as `work/recipe.json` says.

    Raises:
        InvalidInput, ValidationFailed, Conflict, Unavailable: with what is wrong in the work folder.
        Terminated: SIGTERM came while it trained.
    """
    if (work / "output").exists():
        raise Conflict(f"{work / 'output'} exists already", remedy="train in a fresh work folder")
    recipe = Recipe.model_validate_json((work / "recipe.json").read_bytes())
    accelerator = start(recipe)
    with Reporter(os.environ, speaks=accelerator.is_main_process) as reporter:
        reporter.progress(0.0, "reading the data")
        set_seed(recipe.seed)
        disable_progress_bar()  # type: ignore[no-untyped-call]  # ours are events
        prepare = base_and_pairs if recipe.job_type is JobType.FINETUNE else new_model_and_text
        model, tokenizer, material = prepare(recipe, work, reporter, accelerator.local_main_process_first)
        torch.manual_seed(recipe.seed + accelerator.process_index)  # dropout differs between processes, weights do not
        with SystemMetrics(reporter, os.environ):
            summary = Training(work, recipe, accelerator, reporter, tokenizer).run(model, material)
        if accelerator.is_main_process:
            reporter.progress(0.97, "writing the model")
            save(work, merged(model), tokenizer, recipe, summary)
        accelerator.end_training()
        reporter.done()


def start(recipe: Recipe) -> Accelerator:
    """The devices and processes of this run. Raises InvalidInput when there are other processes than the recipe's."""
    gpu = recipe.use_gpu and torch.cuda.is_available()
    if recipe.use_gpu and not gpu:
        print("there is no GPU here: training on the CPU", file=sys.stderr, flush=True)
    # bfloat16 only where a GPU has it: on most processors it is an emulation many times slower than float32.
    bf16 = gpu and torch.cuda.is_bf16_supported() and recipe.precision is not Precision.FP32
    # A decoder's buffers are constants, so sending them before each step is waiting for nothing; gradients that lie in
    # the buckets they are sent in are not copied twice.
    sharing = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    accelerator = Accelerator(cpu=not gpu, mixed_precision="bf16" if bf16 else "no", kwargs_handlers=[sharing])
    if accelerator.num_processes != recipe.processes:
        raise InvalidInput(
            f"the recipe is for {recipe.processes} processes, and {accelerator.num_processes} were started",
            remedy=f"start it with: torchrun --nproc-per-node {recipe.processes} -m llmops_assets.training.sft …",
        )
    return accelerator


def save(work: Path, model: Any, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, summary: dict[str, Any]) -> None:
    """Writes `output/` beside its final place and renames it there, readable for whoever serves it."""
    part = work / "output.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part, save_jinja_files=False)
        (part / "training_summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
        (part / "README.md").write_text(model_card(recipe, summary), encoding="utf-8")
        for path in part.iterdir():
            path.chmod(0o644)  # save_pretrained leaves the weights to their owner alone
        part.rename(work / "output")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _end(*_: object) -> None:
    sys.exit(TERMINATED)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    if len(sys.argv) != 2:
        sys.exit("usage: python -m llmops_assets.training.sft WORK_DIR")
    environment.die_with_parent()
    try:
        main(Path(sys.argv[1]))
    except Terminated:
        sys.exit(TERMINATED)
    except PlatformError as error:
        refused(os.environ, error)
        sys.exit(INPUT_AT_FAULT)
