"""From asking for work to its beginning on one machine, with runs forked from a process that has its imports done, and
with runs started as Dagster starts them, in the same minutes.

Two whole platforms, as `llmops up` starts them, are alike but for RUN_PRELOAD. On each, in turns, a data set's next
version is validated, and a model is trained and evaluated by names Dagster knows. Told for each: seconds from the
request to the row's claim and to its end, as the API tells them, and the CPU of the run's own process until its step
begins (when Dagster begins to capture its output), sampled from /proc.

    python benchmarks/run_start.py [--rounds 3]
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.processes import Watch
from tests.journeys.journey import FINETUNE, PRETRAIN, Journey, benchmark, corpus, pairs
from tests.journeys.running import RunningPlatform, running, wait_for

METRICS: Final = ["exact_match", "perplexity"]
KINDS: Final = ("validation", "training", "evaluation")
Row = tuple[float, float, float]  # seconds to the claim, seconds to the end, CPU seconds until the step


def noted(used: dict[int, float], process: psutil.Process) -> bool:
    """Keep the CPU that a run's process has used when its output is first captured, which a `tail` does."""
    parent = process.parent()
    if process.name() == "tail" and parent is not None and parent.pid not in used:
        times = parent.cpu_times()
        used[parent.pid] = times.user + times.system
        return True
    return time.time() - process.create_time() >= 0.5


def measured(platform: RunningPlatform, path: str) -> Row:
    """Wait for a row that was just asked for."""
    used: dict[int, float] = {}
    with Watch(partial(noted, used)):
        state = platform.finished(path)["state"]
    asked, began, ended = (datetime.fromisoformat(state[f"{name}At"]) for name in ("requested", "started", "finished"))
    cpu = next(iter(used.values()), float("nan"))
    return (began - asked).total_seconds(), (ended - asked).total_seconds(), cpu


class Side:
    """One platform, its data and its model."""

    def __init__(self, platform: RunningPlatform) -> None:
        self.platform, self.journey = platform, Journey(platform)
        uploads = {"corpus": ("corpus.parquet", corpus()), "pairs": ("pairs.jsonl", pairs())}
        self.data = {
            name: self.journey.validated_and_approved(self.journey.upload(name, file, content))
            for name, (file, content) in uploads.items()
        }
        made = self.journey.upload("benchmark", "benchmark.csv", benchmark(), benchmark=True)
        self.data["benchmark"] = self.journey.validated_and_approved(made)
        self.base = self.journey.train("base", "from_scratch", self.data["corpus"], PRETRAIN)
        self.journey.approve_model(self.base)
        self.evaluation()  # so that the names are known

    def validation(self, version: int) -> Row:
        body = {"name": "corpus", "version": str(version), "ownerTeam": "tests"}
        entry = self.platform.post("/catalog/datasets", body)
        path = f"/catalog/datasets/{entry['id']}"
        sent = self.platform.client.post(f"{path}/upload", files={"files": ("corpus.parquet", corpus())})
        sent.raise_for_status()
        return measured(self.platform, f"{path}/validation")

    def training(self, version: int) -> Row:
        body = {
            "jobType": "finetune", "datasetId": self.data["pairs"]["id"], "outputModelName": "base", "useGpu": False,
            "hyperparameters": FINETUNE, "modelId": self.base["id"],
        }  # fmt: skip
        job = self.platform.post("/training/jobs", body, headers={"Idempotency-Key": f"train-{version}"})
        return measured(self.platform, f"/training/jobs/{job['id']}")

    def evaluation(self, _version: int = 1) -> Row:
        body = {"modelId": self.base["id"], "datasetId": self.data["benchmark"]["id"], "metrics": METRICS}
        run = self.platform.post("/evaluation/runs", body)
        return measured(self.platform, f"/evaluation/runs/{run['id']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(running(Path(folder) / name, PII_NER_SAMPLE_ROWS="0", RUN_PRELOAD=preload))
            for name, preload in (("forked", "true"), ("started", "false"))
        }
        socket = sides["forked"].home / "run" / "launcher.sock"
        wait_for(lambda: socket.exists() or None, 120, "the launcher to be warm")
        ready: dict[str, Any] = {name: Side(platform) for name, platform in sides.items()}
        for number in range(2, rounds + 2):
            for kind in KINDS:
                for name, side in ready.items():
                    rows[kind, name].append(getattr(side, kind)(number))
    tell(rows)


def tell(rows: dict[tuple[str, str], list[Row]]) -> None:
    for kind in KINDS:
        ours, theirs = rows[kind, "forked"], rows[kind, "started"]
        for at, what in enumerate(("s to its claim", "s to its end", "CPU s until the step")):
            mine, other = (statistics.median(row[at] for row in side) for side in (ours, theirs))
            print(f"{kind:11} {what:21} forked {mine:6.2f}  started {other:6.2f}  {other / mine:5.1f}x")


if __name__ == "__main__":
    main()
