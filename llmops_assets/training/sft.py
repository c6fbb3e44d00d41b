"""The program that trains, from top to bottom: `python -m llmops_assets.training.sft WORK_DIR`.

Reads `recipe.json`, `data/` and, to fine-tune, `base/`; writes `output/`, which exists only when it is complete.
It knows no Dagster and no database. The same recipe, data, machine and thread count give the same weights.
Exit status: 0 done, 2 the input is at fault (the reason is on stderr), 143 ended by SIGTERM.
"""

import itertools
import json
import math
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from llmops_assets.training.card import model_card
from llmops_assets.training.material import Material, base_and_pairs, new_model_and_text
from llmops_assets.training.metrics import Reporter
from llmops_assets.training.muon import optimizers
from llmops_assets.training.tokens import Batch
from llmops_resources.errors import Conflict, InvalidInput, PlatformError
from llmops_resources.training.recipe import JobType, Recipe

POINTS = 200  # of a curve; more slow the page and show nothing
EVALUATION_TOKENS = 5_000  # looked at during training; the last evaluation looks at all held-out rows
LOWEST_RATE = 0.1  # of the peak, at the end of the cosine


def main(work: Path) -> None:
    """Trains as `work/recipe.json` says.

    Raises:
        InvalidInput, ValidationFailed, Conflict, Unavailable: with what is wrong in the work folder.
    """
    if (work / "output").exists():
        raise Conflict(f"{work / 'output'} exists already", remedy="train in a fresh work folder")
    with Reporter(os.environ) as reporter:
        reporter.progress(0.0, "reading the data")
        recipe = Recipe.model_validate_json((work / "recipe.json").read_bytes())
        set_seed(recipe.seed)
        disable_progress_bar()  # type: ignore[no-untyped-call]  # ours are events
        gpu = recipe.use_gpu and torch.cuda.is_available()
        if recipe.use_gpu and not gpu:
            print("there is no GPU here: training on the CPU", file=sys.stderr, flush=True)
        # bfloat16 only where a GPU has it: on most processors it is an emulation many times slower than float32.
        accelerator = Accelerator(
            cpu=not gpu, mixed_precision="bf16" if gpu and torch.cuda.is_bf16_supported() else "no"
        )
        prepare = base_and_pairs if recipe.job_type is JobType.FINETUNE else new_model_and_text
        model, tokenizer, material = prepare(recipe, work, reporter)
        summary = train(model, material, recipe, accelerator, reporter)
        reporter.progress(0.97, "writing the model")
        save(work, model, tokenizer, recipe, summary)
        reporter.done()


def train(
    model: nn.Module, material: Material, recipe: Recipe, accelerator: Accelerator, reporter: Reporter
) -> dict[str, Any]:
    """Runs the steps of the recipe, reporting as it goes; the summary is what `training_summary.json` holds."""
    steps = _steps(material, recipe)
    prepared, *tools = accelerator.prepare(model, *optimizers(model, recipe))
    peaks = [[group["lr"] for group in tool.param_groups] for tool in tools]
    evaluate_at = {round(steps * part / recipe.evaluations) for part in range(1, recipe.evaluations)}
    every = max(1, math.ceil(steps / POINTS))
    curve: list[dict[str, float]] = []
    recent: list[float] = []
    tokens, began, since = 0, time.monotonic(), (time.monotonic(), 0)
    prepared.train()
    for step, batch in enumerate(itertools.islice(_passes(material, recipe.seed), steps), start=1):
        factor = rate_factor(step, steps, recipe.warmup_fraction)
        for tool, tool_peaks in zip(tools, peaks, strict=True):
            for group, peak in zip(tool.param_groups, tool_peaks, strict=True):
                group["lr"] = peak * factor
        inputs, labels = batch.inputs.to(accelerator.device), batch.labels.to(accelerator.device)
        loss = prepared(input_ids=inputs, labels=labels, use_cache=False).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(prepared.parameters(), recipe.gradient_clip)
        for tool in tools:
            tool.step()
            tool.zero_grad()
        tokens += inputs.numel()
        recent.append(loss.item())
        if not math.isfinite(recent[-1]):
            raise InvalidInput(
                f"the loss is {recent[-1]} at step {step}", remedy="lower learningRate or check the data"
            )
        if step % every == 0 or step == steps:
            mean, now = sum(recent) / len(recent), time.monotonic()
            curve.append({"step": step, "loss": round(mean, 5)})
            reporter.metric("loss", step, mean)
            reporter.metric("learning_rate", step, recipe.learning_rate * factor)
            reporter.metric("tokens_per_second", step, (tokens - since[1]) / max(now - since[0], 1e-9), "tokens/s")
            reporter.progress(0.1 + 0.85 * step / steps, f"step {step} of {steps}, loss {mean:.3f}")
            since, recent = (now, tokens), []
        if step in evaluate_at:
            report_evaluation(prepared, material.held_out, step, reporter, limit=EVALUATION_TOKENS)
    evaluated = report_evaluation(prepared, material.held_out, steps, reporter)
    return {
        "final_loss": curve[-1]["loss"],
        "eval_loss": evaluated,
        "perplexity": math.exp(min(evaluated, 50.0)),
        "tokens": tokens,
        "steps": steps,
        "seconds": round(time.monotonic() - began, 3),
        "cpu_seconds": round(time.process_time(), 3),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "precision": "float32",
        "device": torch.cuda.get_device_name() if accelerator.device.type == "cuda" else f"CPU ({platform.machine()})",
        "rows": material.rows,
        "recipe_digest": recipe.digest,
        "versions": {m.__name__: str(m.__version__) for m in (torch, transformers, accelerate)},
        "curve": curve,
    }


def report_evaluation(
    model: nn.Module, held_out: list[Batch], step: int, reporter: Reporter, limit: float = math.inf
) -> float:
    """The mean loss a token on the held-out rows (nats), of at most about `limit` tokens; reported with perplexity."""
    device = next(model.parameters()).device
    total, count = 0.0, 0
    model.eval()
    with torch.inference_mode():
        for batch in held_out:
            loss = model(input_ids=batch.inputs.to(device), labels=batch.labels.to(device), use_cache=False).loss
            total += loss.item() * batch.learned
            count += batch.learned
            if count >= limit:
                break
    model.train()
    mean = total / max(count, 1)
    reporter.metric("eval_loss", step, mean)
    reporter.metric("perplexity", step, math.exp(min(mean, 50.0)))
    return mean


def rate_factor(step: int, steps: int, warmup_fraction: float) -> float:
    """The learning rate's share of its peak: linear up during the warm-up, then a cosine down to `LOWEST_RATE`."""
    warmup = max(1, round(steps * warmup_fraction))
    if step <= warmup:
        return step / warmup
    along = (step - warmup) / max(steps - warmup, 1)
    return LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * along))


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


def _steps(material: Material, recipe: Recipe) -> int:
    """Optimizer steps: as many passes as asked for, or fewer when `max_tokens` is reached before."""
    steps = recipe.epochs * material.steps_a_pass
    if recipe.max_tokens is not None:
        steps = min(steps, recipe.max_tokens / material.tokens_a_pass * material.steps_a_pass)
    return max(1, round(steps))


def _passes(material: Material, seed: int) -> Iterator[Batch]:
    for epoch in itertools.count():
        yield from material.training_pass(np.random.default_rng((seed, epoch)))


def _end(*_: object) -> None:
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    if len(sys.argv) != 2:
        sys.exit("usage: python -m llmops_assets.training.sft WORK_DIR")
    try:
        main(Path(sys.argv[1]))
    except PlatformError as error:
        print(f"{error}\n{error.remedy}".strip(), file=sys.stderr)
        sys.exit(2)
