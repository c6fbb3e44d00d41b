"""Training on a GPU: our program's step beside a hand-written loop of the same model, 124M parameters in bfloat16.

The model is the size of GPT-2 small (12 layers of 768, tied embeddings of 50,304 tokens, texts of 1,024 tokens), built
Llama-style; both ways take the same batches, AdamW, clipping and learning rates from the same first weights, in
interleaved rounds of one process. A figure is tokens a second between the synchronized ends of two steps, after steps
that warm up, the evaluation and the writing of the model left out. Model FLOPs utilisation is what the model must
compute a token (6 a parameter, and 12 x layers x width x length for attention: PaLM, Chowdhery et al. 2022, appendix B)
over the dense bfloat16 peak of the GPU by its maker's data sheet; of a GPU that is not in the list it is not said.
Without a GPU it measures nothing and says so.

    python benchmarks/gpu_training.py [--steps 30] [--rounds 3] [--batch 16] [--compile]
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator
from transformers import LlamaForCausalLM

from llmops_assets.training.loop import Training, rate_factor
from llmops_assets.training.material import Material
from llmops_assets.training.metrics import Reporter
from llmops_assets.training.models import decoder
from llmops_assets.training.sources import Packed, from_step
from llmops_resources.training.architecture import Architecture, parameter_count
from llmops_resources.training.memory import GIB, estimate
from llmops_resources.training.recipe import Recipe

WARM: Final = 5  # steps before the clock starts
RATE: Final = 6e-4
SHAPE: Final = {
    "hiddenSize": 768, "layers": 12, "heads": 12, "intermediateSize": 2048, "vocabSize": 50_304, "contextLength": 1_024,
}  # fmt: skip
#: Dense bfloat16 FLOPs a second by the makers' data sheets, by a part of the name that the driver gives.
PEAKS: Final = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10G": 70e12}


class Clock(Reporter):
    """A reporter that notes when each step was done on the GPU, and its loss."""

    def __init__(self) -> None:
        super().__init__({}, speaks=False)
        self.at: list[float] = []
        self.losses: list[float] = []

    def metric(self, name: str, step: int, value: float, unit: str = "") -> None:  # noqa: ARG002  as its base
        """Keeps the losses and their times; their value was read, so the step before is done."""
        if name == "loss":
            torch.cuda.synchronize()
            self.at.append(time.perf_counter())
            self.losses.append(value)


def fresh(architecture: Architecture) -> Any:
    """The model with the same first weights every time."""
    torch.manual_seed(0)
    return LlamaForCausalLM(decoder(architecture))


def ours(recipe: Recipe, architecture: Architecture, source: Packed) -> Clock:
    """Our program's loop as the platform starts it; a recipe of at most 200 steps reports each."""
    tiny = Packed(np.zeros(32, dtype=np.uint16), 16, 1)  # the evaluation at the end, which is not timed
    material = Material(training=source, evaluation=tiny, held_out=[], rows={})
    clock = Clock()
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, clock, tempfile.TemporaryDirectory() as folder:
        accelerator = Accelerator(mixed_precision="bf16")
        Training(Path(folder), recipe, accelerator, clock, None).run(fresh(architecture), material)  # type: ignore[arg-type]
    return clock


def by_hand(recipe: Recipe, architecture: Architecture, source: Packed, steps: int) -> Clock:
    """What a person writes who trains this model alone: no platform, no accelerate; the loss is read every step."""
    clock, model = Clock(), fresh(architecture).cuda()
    if recipe.compile:
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step, rows in zip(range(1, steps + 1), from_step(source, recipe.seed, 0), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate_factor(step, steps, recipe.warmup_fraction)
        inputs = source.batch(rows).inputs.cuda()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = model(input_ids=inputs, labels=inputs, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        clock.metric("loss", step, loss.item())
    return clock


def flops_a_token(architecture: Architecture) -> float:
    """Forward and backward, without what is computed again."""
    attention = 12 * architecture.layers * architecture.hidden_size * architecture.context_length
    return 6 * parameter_count(architecture) + attention


def told(name: str, rate: float, architecture: Architecture, gpu: str) -> str:
    """One way's figures."""
    peak = next((flops for part, flops in PEAKS.items() if part in gpu), None)
    used = f"{rate * flops_a_token(architecture) / peak:.1%} of the peak" if peak else "peak of this GPU not known"
    return f"  {name}: {rate:,.0f} tokens/s, model FLOPs utilisation {used}"


def compare(steps: int, rounds: int, batch: int, *, compiled: bool) -> None:
    """Prints the medians of both ways and the ratio of rounds side by side."""
    dials = {
        "architecture": SHAPE, "batchSize": batch, "optimizer": "adamw", "learningRate": RATE, "evaluations": 1,
        "maxTokens": steps * batch * SHAPE["contextLength"], "epochs": 1000, "compile": compiled,
    }  # fmt: skip
    recipe = Recipe.from_hyperparameters("pretrain", dials, use_gpu=True)
    architecture = recipe.architecture
    assert architecture is not None
    tokens = np.random.default_rng(0).integers(0, architecture.vocab_size, (steps + 2) * batch * 1_024)
    source = Packed(tokens.astype(np.uint16), architecture.context_length, batch)
    rates: dict[str, list[float]] = {"ours": [], "by hand": []}
    last: dict[str, float] = {}
    peaks: dict[str, int] = {}
    ways: dict[str, Callable[[Recipe, Architecture, Packed], Clock]] = {
        "ours": ours, "by hand": partial(by_hand, steps=steps),
    }  # fmt: skip
    for _ in range(rounds):
        for name, run in ways.items():
            clock = run(recipe, architecture, source)
            rates[name].append((len(clock.at) - WARM) * batch * 1_024 / (clock.at[-1] - clock.at[WARM - 1]))
            last[name] = clock.losses[-1]
            peaks[name] = torch.cuda.max_memory_reserved()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    gpu = torch.cuda.get_device_name()
    kind = "compiled" if compiled else "not compiled"
    print(f"{parameter_count(architecture) / 1e6:.0f}M parameters, {batch} x 1,024 tokens a step, {kind}, on one {gpu}")
    for name, found in rates.items():
        print(told(name, statistics.median(found), architecture, gpu))
    ratios = [own / other for own, other in zip(rates["ours"], rates["by hand"], strict=True)]
    print(f"  ours / by hand: {statistics.median(ratios):.3f}x ({min(ratios):.3f} to {max(ratios):.3f})")
    need, (own, other) = estimate(recipe, architecture).total, (peaks["ours"], peaks["by hand"])
    print(f"  memory: ours {own / GIB:.1f} GiB, by hand {other / GIB:.1f}, estimated for ours {need / GIB:.1f}")
    print(f"  loss of the last step: ours {last['ours']:.4f}, by hand {last['by hand']:.4f}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, choices=range(WARM + 2, 201), metavar=f"{WARM + 2}..200")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here, nothing measured")
        return
    compare(arguments.steps, arguments.rounds, arguments.batch, compiled=arguments.compile)


if __name__ == "__main__":
    main()
