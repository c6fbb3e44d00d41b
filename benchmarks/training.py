"""Training: our loop beside a plain PyTorch loop and Hugging Face's Trainer, and what recording a metric costs.

The same model, data, order of batches, optimizer, clipping and steps in the same process, in interleaved rounds; CPU
seconds, so that other work on the machine changes little. Recording is compared with a synchronous POST of the same
metric to the same server, and measured with a server that accepts connections and never answers.

    python benchmarks/training.py [--steps 30] [--rounds 3]
"""

import argparse
import contextlib
import http.server
import io
import json
import os
import socket
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import LlamaForCausalLM, Trainer, TrainingArguments

from llmops_assets.training.loop import Training
from llmops_assets.training.material import Material
from llmops_assets.training.metrics import Reporter
from llmops_assets.training.models import decoder
from llmops_assets.training.sources import Packed, from_step
from llmops_resources.training.architecture import Architecture
from llmops_resources.training.recipe import Recipe

SHAPES = {
    "1.1M parameters, 8 x 256 tokens a step": ({"hiddenSize": 128, "layers": 4}, 8),
    "3.7M parameters, 8 x 256 tokens a step": ({"hiddenSize": 256, "layers": 4}, 8),
}
RATE = 1e-3


def fresh(architecture: Architecture, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return LlamaForCausalLM(decoder(architecture))


def ours(recipe: Recipe, architecture: Architecture, source: Packed) -> float:
    material = Material(training=source, evaluation=source, held_out=[], rows={})
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, Reporter({}) as reporter, tempfile.TemporaryDirectory() as folder:
        training = Training(Path(folder), recipe, Accelerator(cpu=True), reporter, None)  # type: ignore[arg-type]
        return float(training.run(fresh(architecture), material)["final_loss"])


def plain(recipe: Recipe, architecture: Architecture, source: Packed, steps: int) -> float:
    model, losses = fresh(architecture), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for _, rows in zip(range(steps), from_step(source, recipe.seed, 0), strict=False):
        batch = source.batch(rows)
        loss = model(input_ids=batch.inputs, labels=batch.labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses[-1]


def trainer(recipe: Recipe, architecture: Architecture, source: Packed, steps: int) -> float:
    rows = [row for _, step in zip(range(steps), from_step(source, recipe.seed, 0), strict=False) for row in step]
    examples = [{"input_ids": (ids := source.batch(np.asarray([row])).inputs[0]), "labels": ids} for row in rows]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        arguments = TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=recipe.batch_size, learning_rate=RATE,
            lr_scheduler_type="constant", optim="adamw_torch", adam_beta1=0.9, adam_beta2=0.95, use_cpu=True,
            max_grad_norm=recipe.gradient_clip, save_strategy="no", report_to=[], logging_steps=10, disable_tqdm=True,
            bf16=False, dataloader_pin_memory=False, train_sampling_strategy="sequential",
        )  # fmt: skip
        done = Trainer(model=fresh(architecture), args=arguments, train_dataset=examples).train()  # type: ignore[arg-type]
    return float(done.training_loss)


def throughput(steps: int, rounds: int) -> None:
    for name, (shape, batch) in SHAPES.items():
        dials = {
            "architecture": shape, "batchSize": batch, "optimizer": "adamw", "learningRate": RATE, "evaluations": 1,
            "maxTokens": steps * batch * 256, "epochs": 1000,
        }  # fmt: skip
        recipe = Recipe.from_hyperparameters("pretrain", dials, use_gpu=False)
        assert recipe.architecture is not None
        tokens = np.random.default_rng(0).integers(0, 2048, 400_000).astype(np.uint16)
        source = Packed(tokens, 256, batch)
        ways: dict[str, Callable[[], float]] = {
            "ours": lambda r=recipe, s=source: ours(r, r.architecture, s),
            "plain loop": lambda r=recipe, s=source: plain(r, r.architecture, s, steps),
            "Trainer": lambda r=recipe, s=source: trainer(r, r.architecture, s, steps),
        }
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, run in ways.items():
                began = time.process_time()
                run()
                spent[way].append(time.process_time() - began)
        rates = {way: steps * batch * 256 / statistics.median(times) for way, times in spent.items()}
        told = ", ".join(f"{way} {rate:,.0f} tokens per CPU second" for way, rate in rates.items())
        print(f"{name}: {told}")
        for way in ("plain loop", "Trainer"):
            ratios = [other / own for other, own in zip(spent[way], spent["ours"], strict=True)]
            print(f"  ours / {way}: {statistics.median(ratios):.2f}x")


class Answering(http.server.BaseHTTPRequestHandler):
    """Takes any metric."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def recording(count: int = 400) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    body = json.dumps({"name": "loss", "value": 1.0, "step": 1}).encode()
    synchronous = []
    for _ in range(count):
        began = time.perf_counter()
        request = urllib.request.Request(f"{url}/m", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            pass
        synchronous.append(time.perf_counter() - began)
    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        cases = {"up": url, "hung": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        for name, address in cases.items():
            own = []
            with contextlib.redirect_stdout(Path(os.devnull).open("w")), Reporter(
                {"API_BASE_URL": address, "JOB_ID": "j", "JOB_TOKEN": "t"}
            ) as reporter:
                for step in range(count):
                    began = time.perf_counter()
                    reporter.metric("loss", step, 1.0)
                    own.append(time.perf_counter() - began)
                    time.sleep(0.001)
            median, worst = statistics.median(own), statistics.quantiles(own, n=100)[98]
            print(
                f"recording a metric, API {name}: {1e6 * median:.1f} us (99 %: {1e6 * worst:.0f} us); synchronous POST "
                f"{1e6 * statistics.median(synchronous):.0f} us; ratio 1/{statistics.median(synchronous) / median:.0f}"
            )
    server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.steps:
        throughput(arguments.steps, arguments.rounds)
    recording()


if __name__ == "__main__":
    main()
