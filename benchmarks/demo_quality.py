"""Exact match and cost of the demo's model: `python -m benchmarks.demo_quality [--seeds 0 1 2] [--split benchmark]`.

Trains and fine-tunes the demo's recipes from scratch, once a seed, through the same programs as the platform, and
scores each model. Hyperparameters are chosen with `--split validation`; the benchmark is for the figure that is told.
CPU seconds are those of the whole process, imports included, so they mean something on a busy machine too.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from examples.demo_data import DEMO_FINETUNE, DEMO_PRETRAIN, build
from llmops_resources.training.recipe import Recipe


def program(module: str, work: Path, threads: int) -> tuple[float, float]:
    """Runs one of our programs to its end; wall and CPU seconds it took."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # idle threads that spin would take the time of whatever else runs here
    }
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", module, str(work)], env=environment, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{module} failed:\n{done.stderr}")
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def train(work: Path, job_type: str, hyperparameters: dict[str, Any], data: Path, base: Path | None) -> Path:
    """Lays out a work folder; its path."""
    (work / "data").mkdir(parents=True)
    recipe = Recipe.from_hyperparameters(job_type, hyperparameters, use_gpu=False)
    (work / "recipe.json").write_text(json.dumps(recipe.json_dict()))
    shutil.copy(data, work / "data")
    if base is not None:
        shutil.copytree(base, work / "base")
    return work


def measure(
    folder: Path, seed: int, split: str, threads: int, overrides: dict[str, dict[str, Any]]
) -> dict[str, float]:
    """One seed from nothing to figures."""
    files = build(folder / "demo")
    pretrain = DEMO_PRETRAIN | {"seed": seed} | overrides.get("pretrain", {})
    base = train(folder / "pretrain", "pretrain", pretrain, files.corpus, None)
    wall_one, cpu_one = program("llmops_assets.training.sft", base, threads)
    finetune = DEMO_FINETUNE | {"seed": seed} | overrides.get("finetune", {})
    chat = train(folder / "finetune", "finetune", finetune, files.train, base / "output")
    wall_two, cpu_two = program("llmops_assets.training.sft", chat, threads)
    scored = folder / "score"
    (scored / "data").mkdir(parents=True)
    shutil.copy(files.benchmark if split == "benchmark" else files.validation, scored / "data")
    shutil.copytree(chat / "output", scored / "model")
    (scored / "suite.json").write_text("{}")
    wall_three, cpu_three = program("llmops_assets.evaluation.score", scored, threads)
    metrics = json.loads((scored / "result.json").read_text())["metrics"]
    return {
        "seed": seed,
        "base perplexity": json.loads((base / "output/training_summary.json").read_text())["perplexity"],
        "exact match": metrics["exact_match"]["value"],
        "low": metrics["exact_match"]["low"],
        "high": metrics["exact_match"]["high"],
        "F1": metrics["f1"]["value"],
        "BLEU": metrics["bleu"]["value"],
        "perplexity": metrics["perplexity"]["value"],
        "pretrain CPU s": cpu_one,
        "fine-tune CPU s": cpu_two,
        "score CPU s": cpu_three,
        "training wall s": wall_one + wall_two,
        "score wall s": wall_three,
    }


def main() -> None:
    """Prints a Markdown table, a column a seed, and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=["benchmark", "validation"], default="benchmark")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--overrides", type=json.loads, default={}, help='{"pretrain": {…}, "finetune": {…}}')
    arguments = parser.parse_args()
    results = []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(Path(folder), seed, arguments.split, arguments.threads, arguments.overrides))
    print("| | " + " | ".join(f"seed {result['seed']}" for result in results) + " | median |")
    print("|---" * (len(results) + 2) + "|")
    for name in list(results[0])[1:]:
        values = [result[name] for result in results]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + f" | {statistics.median(values):.3f} |")


if __name__ == "__main__":
    main()
