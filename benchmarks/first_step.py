"""From submitting a training job to its first step on one machine, split into its parts.

A whole platform is started as `llmops up` does, small from_scratch jobs go through its HTTP API one after another, and
the parts are read from the API, from Dagster's record of the run, and from the processes' own start times. Beside it,
in the same minutes, stands what importing takes by itself in a fresh process: what the trainer needs (its own module),
and the three large libraries alone. The platform's other processes stay up meanwhile, as they do for a user.

    python benchmarks/first_step.py [--jobs 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.processes import Watch
from tests.journeys.journey import PRETRAIN, Journey, corpus
from tests.journeys.running import RunningPlatform, running, wait_for

IMPORTS = {
    "all that the trainer needs": "import llmops_assets.training.sft",
    "torch, transformers and accelerate alone": "import torch, transformers, accelerate",
}
PARTS = ("queued", "run made", "run process up", "claimed", "program started", "imports done", "first step")


def importing(code: str) -> float:
    """Wall seconds of a fresh process that does nothing but import."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    return time.perf_counter() - began


def noted(seen: dict[str, float], process: psutil.Process) -> bool:
    """Keep when the run's process and the trainer appeared; False between fork and exec."""
    words = " ".join(process.cmdline())
    if not words:
        return False
    if "spawn_main(" in words or process.name() == "llmops-run":
        seen["run process up"] = process.create_time()  # the last: a validation may have had one before
    elif "llmops_assets.training." in words or process.name() == "llmops-train":
        seen["program started"] = process.create_time()
    elif process.name().startswith("python"):
        return time.time() - process.create_time() >= 0.5
    return True


def one_job(platform: RunningPlatform, dataset: Any, name: str, *, again: bool = False) -> dict[str, float]:
    """Seconds from submitting to each part's end."""
    body = {
        "jobType": "from_scratch", "datasetId": dataset["id"], "outputModelName": name, "useGpu": False,
        "hyperparameters": PRETRAIN,
    }  # fmt: skip
    seen: dict[str, float] = {}
    with Watch(partial(noted, seen), psutil.pids()):
        began = time.time()
        job = platform.post("/training/jobs", body, headers={"Idempotency-Key": f"{name}-{again}"})
        at = {"queued": time.time()}
        path = f"/training/jobs/{job['id']}"
        wait_for(lambda: platform.get(path)["state"]["status"] == "succeeded" or None, 240, "the job to end")
    state = platform.get(path)["state"]
    metrics = platform.get(f"/training/experiments/{job['id']}")
    lines = platform.get(f"{path}/logs")["lines"]
    at |= seen
    at["run made"] = run_made(platform, state["runId"])
    at["claimed"] = _seconds(state["startedAt"])
    # what the program says first, when it is done with importing
    at["imports done"] = next(_seconds(line["at"]) for line in lines if line["text"] == "reading the data")
    at["first step"] = min(_seconds(metric["recordedAt"]) for metric in metrics if metric["name"] == "loss")
    return {part: at[part] - began for part in PARTS if part in at}


def run_made(platform: RunningPlatform, run_id: str) -> float:
    """When Dagster's daemon wrote the run down (seconds of the epoch)."""
    settings = (platform.home / "dagster" / "dagster.yaml").read_text()
    url = json.loads(next(line for line in settings.splitlines() if "postgres_url" in line).partition(": ")[2])
    with psycopg.connect(url.replace("+psycopg2", "")) as connection:
        found = connection.execute(
            "SELECT extract(epoch FROM create_timestamp) FROM runs WHERE run_id = %s", (run_id,)
        ).fetchone()
    assert found is not None
    return float(found[0])


def _seconds(text: str) -> float:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "home", PII_NER_SAMPLE_ROWS="0") as platform:
        journey = Journey(platform)
        dataset = journey.validated_and_approved(journey.upload("corpus", "corpus.parquet", corpus()))
        wait_for(lambda: (platform.home / "run" / "trainer.sock").exists() or None, 120, "the trainer to be warm")
        bare: dict[str, list[float]] = {name: [] for name in IMPORTS}
        jobs, again = [], []
        for number in range(arguments.jobs):
            for name, code in IMPORTS.items():
                bare[name].append(importing(code))
            jobs.append(one_job(platform, dataset, f"measured_{number}"))
            again.append(one_job(platform, dataset, f"measured_{number}", again=True))
        for name, seconds in bare.items():
            print(f"importing {name}: {statistics.median(seconds):.2f} s")
        tell("a new model's name, which Dagster must first be told", jobs, bare)
        tell("a new version of a model", again, bare)


def tell(what: str, jobs: list[dict[str, float]], bare: dict[str, list[float]]) -> None:
    before = 0.0
    print(f"{what}: seconds from submitting, medians of {len(jobs)} jobs")
    for part in PARTS:
        found = [job[part] for job in jobs if part in job]
        if found:
            now = statistics.median(found)
            print(f"  {part:16} {now:6.2f}  (+{now - before:.2f})")
            before = now
    for name, seconds in bare.items():
        ratios = [job["first step"] / own for job, own in zip(jobs, seconds, strict=True)]
        told = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
        print(f"  first step / importing {name}: {told}")


if __name__ == "__main__":
    main()
