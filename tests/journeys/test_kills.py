"""kill -9 of each part at each step: the journey ends well, nothing is lost, nothing is doubled."""

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.journeys.journey import Journey
from tests.journeys.running import RunningPlatform, running

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(600)]
WORK = ("validate", "train", "evaluate", "deploy")
STEPS = ("upload", *WORK, "approve", "chat")


def _kill_runs(platform: RunningPlatform) -> int:
    """Wait for a run to be under way, then kill it and what it started; returns how many died."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        victims = platform.run_processes()
        if victims:
            for victim in victims:
                with contextlib.suppress(psutil.Error):
                    victim.kill()
            return len(victims)
        time.sleep(0.05)
    return 0


# A walk for each pair whose parts do without each other, so that one death does not hide what another would show.
@pytest.mark.parametrize("victims", [("api", "daemon"), ("code-server", "run")], ids=" and ".join)
def test_the_journey_survives_killing_its_parts_at_every_step(tmp_path: Path, victims: tuple[str, str]) -> None:
    # without the language model, whose loading would be most of every validation
    with running(tmp_path / "home", PII_NER_SAMPLE_ROWS="0") as platform:
        killed: Counter[tuple[str, str]] = Counter()

        def disturb(step: str) -> None:
            if step == "upload" and killed[victims[0], step]:
                return  # the other uploads are no other steps
            time.sleep(1.0 if step in WORK else 0)
            for victim in victims:
                if victim != "run":
                    platform.kill(victim)
                    killed[victim, step] += 1
            if "run" in victims and step in WORK:
                killed["run", step] += _kill_runs(platform)

        made = Journey(platform, disturb).walk()
        expected = {(victim, step) for victim in victims for step in (WORK if victim == "run" else STEPS)}
        assert {death for death, count in killed.items() if count} == expected
        platform.wait_until_healthy()
        _nothing_is_lost_or_doubled(platform, made)


def _nothing_is_lost_or_doubled(platform: RunningPlatform, made: dict[str, Any]) -> None:
    datasets, models = platform.get("/catalog/datasets"), platform.get("/catalog/models")
    assert sorted(entry["name"] for entry in datasets) == ["benchmark", "corpus", "pairs"]
    assert sorted((model["name"], model["version"]) for model in models) == [("tiny_base", "1"), ("tiny_chat", "1")]
    jobs = platform.get("/training/jobs")
    assert [job["state"]["status"] for job in jobs] == ["succeeded", "succeeded"]
    assert len(platform.get("/evaluation/runs")) == 1
    assert len(platform.get("/serving/endpoints")) == 1
    assert len(platform.get(f"/serving/endpoints/{made['endpoint']['id']}/deployments")) == 1
    for job in jobs:
        metrics = platform.get(f"/training/experiments/{job['id']}")
        assert max(Counter((metric["name"], metric["step"]) for metric in metrics).values()) == 1
        assert any(metric["name"] == "loss" for metric in metrics)
    actions = Counter(entry["action"] for entry in platform.get("/audit/logs", limit=500))
    assert (actions["model.submit"], actions["model.approve"], actions["dataset.approve"]) == (2, 2, 3)
    assert (actions["training.finish"], actions["evidence.evaluation"], actions["evidence.validation"]) == (2, 1, 3)
    assert platform.get("/audit/verify")["intact"]
    staging = platform.home / "objects" / "staging"
    assert not staging.exists() or not any(path.is_file() for path in staging.rglob("*"))
