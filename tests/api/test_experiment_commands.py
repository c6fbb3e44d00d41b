"""`llmops experiments` against the running API: logs, comparison and export without a browser."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.rooms.experiments import BARS, WIDTH, printable, sparkline
from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.errors import InvalidInput
from llmops_resources.platform import Platform
from tests.api.measuring import measured, said, submitted
from tests.api.shell import Shell
from tests.factories import approved


@pytest.fixture
def llmops(llmops: Shell) -> Shell:
    return replace(llmops, room=("experiments",))


def _job(api: httpx.Client, dataset: versions.Version, name: str, rate: float, *losses: float) -> str:
    job = submitted(api, dataset, name, learningRate=rate)
    measured(api, job, "loss", *losses)
    return job


def test_experiments_are_found_compared_and_taken_away_as_files(
    platform: Platform, api: httpx.Client, llmops: Shell, tmp_path: Path
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts")
    slow = _job(api, dataset, "slow", 0.0001, 5.0, 4.5, 4.25)
    fast = _job(api, dataset, "fast", 0.01, 5.0, 3.0, 2.125)
    best = json.loads(llmops("list", "--metric", "loss", "--order", "lowest", "--json"))
    assert [each["jobId"] for each in best] == [fast, slow]
    few = json.loads(llmops("list", "--where", "param.learning_rate<=0.001 and metric.loss<5", "--json"))
    assert [each["jobId"] for each in few] == [slow]
    told = llmops("compare", slow, fast)
    assert "#2" in told
    assert "0.01" in next(line for line in told.splitlines() if line.strip().startswith("learningRate"))
    assert all(text in told for text in ("4.25", "2.125", BARS[0], BARS[-1]))
    llmops("export", fast, str(tmp_path / "fast.csv"))
    with (tmp_path / "fast.csv").open(encoding="utf-8-sig") as file:
        assert any("2.125" in cell for row in csv.reader(file) for cell in row)
    llmops("export", fast, str(tmp_path / "fast.json"))
    assert [each["value"] for each in json.loads((tmp_path / "fast.json").read_text())["metrics"]] == [5.0, 3.0, 2.125]


def test_an_export_overwrites_nothing_and_a_strange_kind_is_refused(
    platform: Platform, api: httpx.Client, llmops: Shell, tmp_path: Path
) -> None:
    job = _job(api, approved(platform, Kind.DATASET, "facts"), "tiny", 0.01, 1.0)
    kept = tmp_path / "kept.json"
    kept.write_text("mine")
    for target, words in ((kept, "cannot be written"), (tmp_path / "kept.xlsx", "neither")):
        with pytest.raises(InvalidInput, match=words):
            llmops("export", job, str(target))
    assert kept.read_text() == "mine"


def test_a_log_is_printed_whole_and_followed_to_the_jobs_end(
    platform: Platform, api: httpx.Client, llmops: Shell
) -> None:
    job = _job(api, approved(platform, Kind.DATASET, "facts"), "tiny", 0.01, 1.0)
    said(platform, job, *(f"line {number}" for number in range(1_500)))
    said(platform, job, "red \x1b[31malert\x07")
    printed = llmops("logs", job).splitlines()
    assert [line.split(" ", 2)[2] for line in printed[:1_500]] == [f"line {number}" for number in range(1_500)]
    assert "\x1b" not in printed[-1]
    assert api.delete(f"/training/jobs/{job}").json()["data"]["state"]["status"] == "cancelled"
    assert llmops("logs", job, "--follow").splitlines() == printed


@given(st.lists(st.floats(-1e9, 1e9), max_size=200))
def test_a_curve_of_bars_is_as_long_as_its_values_or_the_width_and_touches_both_ends(values: list[float]) -> None:
    bars = sparkline(values)
    assert len(bars) == min(len(values), WIDTH)
    if len(values) <= WIDTH and len(set(values)) > 1 and math.isfinite(max(values) - min(values)):
        assert bars[values.index(min(values))] == BARS[0]
        assert bars[values.index(max(values))] == BARS[-1]


@given(st.text())
def test_nothing_that_is_printed_commands_the_terminal(text: str) -> None:
    assert not any((ord(char) < 32 and char != "\t") or 127 <= ord(char) < 160 for char in printable(text))
