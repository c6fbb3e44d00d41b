"""A whole evaluation by our program beside lm-evaluation-harness: the same model, task, CPU and batch size, end to end.

Each in a process of its own, imports, reading, answering, scoring and writing included, in turns. Two tasks: answers
with their exact match, and how likely the expected answers are. The model is made here, of random weights; the expected
answers of two thirds of the prompts are those that transformers' own `generate` gives, so that a score other than two
thirds is wrong. Exits with 1 when a score, an answer or a likelihood differs.

    python -m benchmarks.evaluation_harness [--prompts 256] [--tokens 40] [--rounds 3] [--threads 1] [--batch 32]
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from benchmarks.evaluation import SHAPES, TEXTS, fresh, naive_of, prompts
from llmops_assets.evaluation.generate import BATCH
from llmops_assets.training.tokens import prepare_for_chat, train_tokenizer

HARNESS: Final = Path(".venv-bench-evaluation/bin/lm-eval").absolute()
TASKS: Final = ("answers", "likelihood")
END: Final = "<|end|>"
METRIC: Final = {"answers": "exact_match", "likelihood": "byte_perplexity"}
Scores = list[float]  # of each sample: whether it matches, or the log-likelihood in nats


def main() -> None:
    """Prints a line of JSON a task."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("prompts", 256), ("tokens", 40), ("rounds", 3), ("threads", 1), ("batch", BATCH)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--model", choices=SHAPES, default="6.5M parameters")
    asked = parser.parse_args()
    if not HARNESS.is_file():
        sys.exit("lm-evaluation-harness is not installed: `make bench` installs it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, asked.model, asked.prompts, asked.tokens)
        for task in TASKS:
            by_ours(folder, task, asked.tokens, asked.threads)  # unmeasured, so that byte code and caches are there
            by_harness(folder, task, asked.threads, asked.batch, "--limit", "2")
            times: dict[str, list[tuple[float, float]]] = {"ours": [], "harness": []}
            for _ in range(asked.rounds):
                ours, spent = by_ours(folder, task, asked.tokens, asked.threads)
                times["ours"].append(spent)
                theirs, spent = by_harness(folder, task, asked.threads, asked.batch)
                times["harness"].append(spent)
                same(task, ours, theirs)
            print(json.dumps({"task": task, "model": asked.model, **summary(ours, times)}), flush=True)


def prepare(folder: Path, shape: str, count: int, tokens: int) -> None:
    """The model, the rows, and the harness's two tasks over them."""
    torch.set_num_threads(2)
    tokenizer = train_tokenizer(TEXTS, 2_000, 512)
    prepare_for_chat(tokenizer)
    model = fresh(tokenizer, *SHAPES[shape])
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    asked = prompts(count, 0)
    said = naive_of(model, tokenizer, asked, tokens)
    rows = [
        {"question": prompt, "answer": answer if number % 3 else "Something else"}
        for number, (prompt, answer) in enumerate(zip(asked, said, strict=True))
    ]
    (folder / "data").mkdir()
    (folder / "data/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "data/rows.jsonl")}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "target_delimiter": "",
    }
    around = {"regexes_to_ignore": [r"^\s+", r"\s+$"]}
    answers = {
        "task": "answers", "output_type": "generate_until", "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [END], "do_sample": False, "max_gen_toks": tokens},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, **around}],
    }  # fmt: skip
    likelihood = {
        "task": "likelihood", "output_type": "loglikelihood", "doc_to_target": "{{answer}}" + END,
        # "perplexity" of a model as bad as this one overflows when the harness resamples it.
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    (folder / "tasks").mkdir()
    for task in (answers, likelihood):
        (folder / f"tasks/{task['task']}.yaml").write_text(yaml.safe_dump(common | task))


def by_ours(folder: Path, task: str, tokens: int, threads: int) -> tuple[Scores, tuple[float, float]]:
    """Our evaluation program, and its wall and CPU seconds."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for part in ("model", "data"):
            (work / part).symlink_to(folder / part)
        suite = {"metrics": [METRIC[task]], "max_new_tokens": tokens}
        (work / "suite.json").write_text(json.dumps(suite))
        spent = _ran([sys.executable, "-m", "llmops_assets.evaluation.score", str(work)], threads)
        samples = json.loads((work / "result.json").read_text())["samples"]
    if task == "answers":
        return [sample["scores"]["exact_match"] for sample in samples], spent
    sizes = [len(sample["expected"].encode()) for sample in samples]
    return [-math.log(s["scores"]["byte_perplexity"]) * size for s, size in zip(samples, sizes, strict=True)], spent


def by_harness(
    folder: Path, task: str, threads: int, batch: int, *more: str
) -> tuple[Scores, tuple[float, float]]:
    """The harness, and its wall and CPU seconds."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        command = [
            str(HARNESS), "run", "--model", "hf", "--model_args", f"pretrained={folder / 'model'},dtype=float32",
            "--tasks", task, "--include_path", str(folder / "tasks"), "--device", "cpu", "--batch_size", str(batch),
            "--apply_chat_template", "--log_samples", "--output_path", str(out), *more,
        ]  # fmt: skip
        spent = _ran(command, threads, HF_HOME=str(folder / "cache"))
        (path,) = out.rglob("samples_*.jsonl")
        samples = sorted(map(json.loads, path.read_text().splitlines()), key=lambda sample: int(sample["doc_id"]))
    if task == "answers":
        return [float(sample["exact_match"]) for sample in samples], spent
    return [float(sample["filtered_resps"][0][0]) for sample in samples], spent


def same(task: str, ours: Scores, theirs: Scores) -> None:
    """Exits unless every sample has the same score."""
    allowed = 0.0 if task == "answers" else 1e-5  # of a likelihood, which is summed in float32
    apart = [pair for pair in zip(ours, theirs, strict=True) if not math.isclose(*pair, rel_tol=allowed)]
    if apart:
        sys.exit(f"{task}: {len(apart)} of {len(ours)} samples differ, such as {apart[:3]}")


def summary(scores: Scores, times: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Medians, and of each round how many times as long the harness took."""
    found: dict[str, Any] = {"samples": len(scores), "meanOfEqualScores": round(statistics.fmean(scores), 6)}
    for at, name in enumerate(("WallSeconds", "CpuSeconds")):
        ratios = [theirs[at] / ours[at] for ours, theirs in zip(times["ours"], times["harness"], strict=True)]
        for who, each in times.items():
            found[who + name] = round(statistics.median(spent[at] for spent in each), 2)
        found["timesBy" + name.removesuffix("Seconds")] = round(statistics.median(ratios), 2)
        found["rounds" + name.removesuffix("Seconds")] = [round(ratio, 2) for ratio in ratios]
    return found


def _ran(command: list[str], threads: int, **environment: str) -> tuple[float, float]:
    quiet = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": "."}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env=os.environ | quiet | environment, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-3_000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
