"""Thousands of damaged files: none is read wrongly, and none brings the intake down."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.checks.mutants import SEEDS, judged

EACH = 700


@pytest.mark.slow
@pytest.mark.parametrize("fmt", ["csv", "jsonl", "parquet"])
def test_no_mutated_file_is_read_wrongly_or_brings_the_intake_down(fmt: str, tmp_path: Path) -> None:
    verdicts: Counter[str] = Counter()
    wrong: list[str] = []
    number = 0
    while number < EACH:
        command = [sys.executable, "-m", "tests.checks.mutants", fmt, str(number), str(EACH), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        verdicts.update(verdict for _, verdict, _ in lines)
        wrong += [f"{which}: {why}" for which, verdict, why in lines if verdict == "wrong"]
        number += len(lines)
        if number < EACH:  # the process died of this one
            wrong.append(f"{number}: ended with {done.returncode}: {done.stderr[-300:]}")
            number += 1
    assert not wrong, f"{len(wrong)} of {EACH} {fmt} files: {wrong[:10]}"
    assert verdicts["refused"] > EACH / 4
    assert verdicts["accepted"] > 5, "the mutator leaves nothing to accept"


@pytest.mark.parametrize("fmt", ["csv", "jsonl", "parquet"])
def test_the_files_that_are_mutated_are_sound(fmt: str, tmp_path: Path) -> None:
    for seed in SEEDS[fmt]():
        assert judged(fmt, seed, tmp_path) == ("accepted", "")
