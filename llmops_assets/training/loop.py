"""The training loop: steps from the first or from a checkpoint on, reported, evaluated and saved as it goes."""

import itertools
import math
import shutil
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from transformers import PreTrainedTokenizerBase

from llmops_assets.training import checkpoints, environment
from llmops_assets.training.checkpoints import Progress
from llmops_assets.training.material import Material
from llmops_assets.training.metrics import Reporter
from llmops_assets.training.muon import optimizers
from llmops_assets.training.sharding import put_together, shard, whole
from llmops_assets.training.sources import Rows, Source, from_step
from llmops_assets.training.tokens import IGNORED, Batch
from llmops_resources.errors import InvalidInput
from llmops_resources.training.recipe import Recipe

POINTS: Final = 200  # of a curve; more slow the page and show nothing
EVALUATION_TOKENS: Final = 5_000  # looked at during training; the last evaluation looks at all held-out rows
LOWEST_RATE: Final = 0.1  # of the peak, at the end of the cosine


class Terminated(Exception):
    """SIGTERM came; the checkpoint is written."""


class Training:
    """The loop and what it keeps: how far it is, and whether somebody wants it to stop."""

    def __init__(
        self,
        work: Path,
        recipe: Recipe,
        accelerator: Accelerator,
        reporter: Reporter,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.work, self.recipe, self.accelerator = work, recipe, accelerator
        self.reporter, self.tokenizer = reporter, tokenizer
        self.progress = Progress(recipe_digest=recipe.digest)
        self.terminated = False
        self.saved_at = self.began = time.monotonic()

    def run(self, model: nn.Module, material: Material) -> dict[str, Any]:
        """Take all steps, from the checkpoint on if there is one; what `training_summary.json` holds.

        Raises Terminated after a checkpoint when SIGTERM came, InvalidInput when the loss is no number any more.
        """
        recipe, source = self.recipe, material.training
        sharded = recipe.is_sharded(sum(parameter.numel() for parameter in model.parameters()))
        learner = Learner(model)
        raw, prepared, *tools = self._prepare(learner, sharded=sharded)
        resume = self.work / "resume"
        if resume.is_dir():
            self.progress = checkpoints.read_progress(resume, recipe.digest)
            checkpoints.restore(resume, model, raw, self.accelerator.process_index)
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        progress, steps = self.progress, _steps(source, recipe)
        before = (progress.seconds, progress.cpu_seconds)
        evaluate_at = {round(steps * part / recipe.evaluations) for part in range(1, recipe.evaluations)}
        rates = Rates(tools, recipe, steps)
        every, since = max(1, math.ceil(steps / POINTS)), (time.monotonic(), progress.tokens)
        prepared.train()
        for rows in itertools.islice(from_step(source, recipe.seed, progress.step), steps - progress.step):
            progress.step += 1
            rate = rates.set(progress.step)
            share, norm, tokens = learn(prepared, tools, source, rows, recipe, self.accelerator)
            stop, due = self._agree(share, tokens, last=progress.step == steps)
            if progress.step % every == 0 or progress.step == steps:
                self._report(steps, rate, norm, since)
                since = (time.monotonic(), progress.tokens)
            if progress.step in evaluate_at:
                report_evaluation(learner, material, progress.step, self, limit=EVALUATION_TOKENS)
            progress.seconds = before[0] + time.monotonic() - self.began
            progress.cpu_seconds = before[1] + time.process_time()
            if due or stop:
                self._checkpoint(model, raw)
            if stop:
                raise Terminated
        evaluated = report_evaluation(learner, material, steps, self)
        summary = self._summary(model, material, evaluated, sharded=sharded)
        if sharded:
            put_together(model, keep=self.accelerator.is_main_process)
        return summary

    def _prepare(
        self, learner: "Learner", *, sharded: bool
    ) -> tuple[list[torch.optim.Optimizer], Any, *tuple[Any, ...]]:
        """The optimizers, and what stands for the learner and for them when the processes work together."""
        if sharded:
            shard(learner.model, self.accelerator)
        raw = optimizers(learner.model, self.recipe)
        if self.recipe.compile and (hindrance := self._hindrance(sharded=sharded)):
            print(f"the model is not compiled: {hindrance}", file=sys.stderr, flush=True)
        elif self.recipe.compile:
            learner.compile()
        return (raw, learner, *raw) if sharded else (raw, *self.accelerator.prepare(learner, *raw))

    def _hindrance(self, *, sharded: bool) -> str | None:
        if sharded:
            return "it is cut over the processes"
        if self.recipe.use_gpu and self.accelerator.device.type != "cuda":
            return "it was to be on a GPU, and there is none"
        if not any(map(shutil.which, ("cc", "gcc", "clang"))):
            return "there is no C compiler here; install gcc"
        return None

    def _agree(self, share: Tensor, tokens: int, *, last: bool) -> tuple[bool, bool]:
        """Write the step's loss and tokens over all processes down; whether to stop, and to write a checkpoint now.

        All processes must do the same after the same step, so they learn of each other's wishes with the loss.
        """
        recipe, progress = self.recipe, self.progress
        due = (
            progress.step % recipe.checkpoint_steps == 0
            if recipe.checkpoint_steps is not None
            else time.monotonic() - self.saved_at > 60 * recipe.checkpoint_minutes
        )
        wishes = [share.item(), float(tokens), float(self.terminated), float(due and self.accelerator.is_main_process)]
        if self.accelerator.num_processes > 1:
            told = torch.tensor(wishes, dtype=torch.float64, device=self.accelerator.device)
            wishes = self.accelerator.reduce(told).tolist()
        loss, all_tokens, stop, write = wishes
        if not math.isfinite(loss):
            remedy = "lower learningRate or check the data"
            raise InvalidInput(f"the loss is {loss} at step {progress.step}", remedy=remedy)
        progress.tokens += round(all_tokens)
        progress.recent.append(loss)
        return stop > 0, write > 0 and not last

    def _report(self, steps: int, rate: float, norm: Tensor, since: tuple[float, int]) -> None:
        progress, reporter, now = self.progress, self.reporter, time.monotonic()
        mean, step = sum(progress.recent) / len(progress.recent), progress.step
        progress.curve.append({"step": step, "loss": round(mean, 5)})
        progress.recent = []
        reporter.metric("loss", step, mean)
        reporter.metric("learning_rate", step, rate)
        reporter.metric("gradient_norm", step, norm.item())
        reporter.metric("tokens_per_second", step, (progress.tokens - since[1]) / max(now - since[0], 1e-9), "tokens/s")
        reporter.progress(0.1 + 0.85 * step / steps, f"step {step} of {steps}, loss {mean:.3f}")

    def _checkpoint(self, model: nn.Module, tools: list[torch.optim.Optimizer]) -> None:
        randoms = gather_object([checkpoints.random_state()])
        state = checkpoints.gather(model, tools, keep=self.accelerator.is_main_process)
        if self.accelerator.is_main_process:
            folder = checkpoints.write(self.work, self.progress, state, randoms, self.tokenizer)
            self.reporter.checkpoint(self.progress.step, folder)
        self.accelerator.wait_for_everyone()
        self.saved_at = time.monotonic()

    def _summary(self, model: nn.Module, material: Material, evaluated: float, *, sharded: bool) -> dict[str, Any]:
        progress = self.progress
        return {
            "final_loss": progress.curve[-1]["loss"],
            "eval_loss": evaluated,
            "perplexity": math.exp(min(evaluated, 50.0)),
            "tokens": progress.tokens,
            "steps": progress.step,
            "seconds": round(progress.seconds, 3),
            "cpu_seconds": round(progress.cpu_seconds, 3),
            "attempts": progress.attempts,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "precision": "bfloat16" if self.accelerator.mixed_precision == "bf16" else "float32",
            "parallelism": None if self.recipe.processes == 1 else "fsdp" if sharded else "ddp",
            "rows": material.rows,
            "recipe_digest": self.recipe.digest,
            **environment.facts(self.accelerator.device),
            "curve": progress.curve,
        }

    def _ask_to_stop(self, *_: object) -> None:
        self.terminated = True


def learn(
    prepared: nn.Module,
    tools: list[torch.optim.Optimizer],
    source: Source,
    rows: Rows,
    recipe: Recipe,
    accelerator: Accelerator,
) -> tuple[Tensor, Tensor, int]:
    """One step on this process's share of `rows`: its part of the step's loss, the gradients' norm, its tokens.

    The loss is the mean over all tokens that the whole step learns, however it is cut up, so that several processes
    and accumulated gradients give what one process and one piece would.
    """
    count, first = recipe.gradient_accumulation, accelerator.process_index * recipe.gradient_accumulation
    pieces = np.array_split(rows, accelerator.num_processes * count)[first : first + count]
    learned = max(source.learned(rows), 1)
    total, tokens = torch.zeros((), device=accelerator.device), 0
    for number, piece in enumerate(pieces):
        # Every process must go through the model as often as the others, so a missing piece is one that weighs nothing.
        batch, weight = (source.batch(piece), 1.0) if len(piece) else (source.batch(rows[:1]), 0.0)
        with accelerator.no_sync(prepared) if number < len(pieces) - 1 else nullcontext():
            share = loss_sum(prepared, batch, accelerator.device) * (weight / learned)
            accelerator.backward(share * accelerator.num_processes)  # of which the wrapper takes the mean
        total += share.detach()
        tokens += batch.inputs.numel() if len(piece) else 0
    norm = whole(accelerator.clip_grad_norm_(prepared.parameters(), recipe.gradient_clip))
    for tool in tools:
        tool.step()
        tool.zero_grad()
    return total, norm, tokens


class Learner(nn.Module):
    """A model together with its loss, so that one compiled graph holds both.

    Around the model alone `accelerate` would hand out a copy of all logits in float32, which takes most of a step's
    memory and, on a GPU, a fifth of its time.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor, positions: Tensor | None) -> Tensor:
        """The negative log likelihood (nats) of all learned tokens together; all of shape (rows, tokens)."""
        # From positions that begin anew the model's mask follows, within which a text sees nothing of those before it.
        places = {} if positions is None else {"position_ids": positions}
        logits = self.model(input_ids=inputs, use_cache=False, **places).logits
        following = pad(labels, (0, 1), value=IGNORED)[:, 1:]
        return cross_entropy(logits.flatten(0, 1).float(), following.flatten(), ignore_index=IGNORED, reduction="sum")


def loss_sum(learner: nn.Module, batch: Batch, device: torch.device) -> Tensor:
    """The negative log likelihood (nats) of all learned tokens of a batch together."""
    positions = None if batch.positions is None else batch.positions.to(device)
    loss: Tensor = learner(batch.inputs.to(device), batch.labels.to(device), positions)
    return loss


def report_evaluation(
    learner: Learner, material: Material, step: int, training: Training, limit: float = math.inf
) -> float:
    """The mean loss a token on the held-out rows (nats), of at most about `limit` tokens; reported with perplexity.

    `learner` is not in DDP's wrapper, which would wait for a backward pass.
    """
    accelerator, reporter = training.accelerator, training.reporter
    sums = torch.zeros(2, dtype=torch.float64)
    learner.eval()
    with torch.no_grad():  # inference mode would leave FSDP's buffers unusable for the next step
        for batch, own in material.evaluation_batches(accelerator.process_index, accelerator.num_processes, limit):
            loss = loss_sum(learner, batch, accelerator.device).item()
            sums += torch.tensor([loss, batch.learned]) * own
    learner.train()
    if accelerator.num_processes > 1:
        sums = accelerator.reduce(sums.to(accelerator.device)).cpu()
    mean = float(sums[0] / max(float(sums[1]), 1.0))
    reporter.metric("eval_loss", step, mean)
    reporter.metric("perplexity", step, math.exp(min(mean, 50.0)))
    return mean


class Rates:
    """The learning rates of all optimizers, each from its peak by the same factor."""

    def __init__(self, tools: list[torch.optim.Optimizer], recipe: Recipe, steps: int) -> None:
        self._groups = [(group, group["lr"]) for tool in tools for group in tool.param_groups]
        self._recipe, self._steps = recipe, steps

    def set(self, step: int) -> float:
        """Set those of a step (counted from 1); the recipe's own."""
        factor = rate_factor(step, self._steps, self._recipe.warmup_fraction)
        for group, peak in self._groups:
            group["lr"] = peak * factor
        return self._recipe.learning_rate * factor


def rate_factor(step: int, steps: int, warmup_fraction: float) -> float:
    """The learning rate's share of its peak: linear up during the warm-up, then a cosine down to `LOWEST_RATE`."""
    warmup = max(1, round(steps * warmup_fraction))
    if step <= warmup:
        return step / warmup
    along = (step - warmup) / max(steps - warmup, 1)
    return LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * along))


def _steps(source: Source, recipe: Recipe) -> int:
    """Optimizer steps: as many passes as asked for, or fewer when `max_tokens` is reached before."""
    steps = recipe.epochs * source.steps_a_pass
    if recipe.max_tokens is not None:
        steps = min(steps, recipe.max_tokens / source.tokens_a_pass * source.steps_a_pass)
    return max(1, round(steps))
