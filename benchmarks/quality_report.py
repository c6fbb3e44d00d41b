"""The quality report of a large Parquet file: `python benchmarks/quality_report.py [--megabytes 500] [--rounds 3]`.

Everything between the files and the score (footer judged, every page read in the bounded process and spooled, one pass
of figures, duplicates, near duplicates, statistics; personal data is another figure) beside a bare scan by polars that
only counts the empty cells of every column, and Great Expectations on the same questions: empty cells of each column,
doubled rows, blank and damaged texts, outliers. Each in a process of its own, imports included, in turns; Great
Expectations once, since it takes longest. Wall and CPU seconds, peak memory of the process and of those it starts.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from corpora.tickets import tickets

ALTERNATIVES = ".venv-bench/bin/python"
MEASURED = """
import json, resource, sys, time
from pathlib import Path
path = sys.argv[1]
began = time.monotonic()
{program}
own, started = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps(dict(answer=answer, wall=time.monotonic() - began,
    cpu=own.ru_utime + own.ru_stime + started.ru_utime + started.ru_stime,
    peak=max(int(status["VmHWM"].split()[0]), started.ru_maxrss) * 1024)))
"""
SCAN = """
import polars as pl
answer = pl.scan_parquet(path, glob=False).select(pl.all().null_count()).collect(engine="streaming").row(0)
"""
OURS = """
import tempfile
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.profiles import profile
from llmops_resources.checks.quality import check_quality
from llmops_resources.checks.structure import check_structure
with tempfile.TemporaryDirectory() as folder:
    _, structure, spool = check_structure([(Path(path).name, Path(path))], Path(folder), expected=None, options=CheckOptions())
    clocks = time.monotonic, time.process_time
    parsed = [clock() for clock in clocks]
    found = profile(spool)
    counted = [clock() for clock in clocks]
    quality = check_quality(spool, structure, found, None)
    scored = [clock() for clock in clocks]
def spent(first, last):
    return {name: b - a for name, a, b in zip(("wall", "cpu"), first, last)}
answer = dict(scoring=spent(parsed, scored), near=spent(counted, scored), nulls=[c.nulls for c in found.columns], rows=spool.rows, score=quality.score,
    **{p.name: p.figure for p in quality.parts})
"""  # noqa: E501
GREAT_EXPECTATIONS = """
import logging
import great_expectations as gx
import pandas as pd
logging.disable(logging.WARNING)
frame = pd.read_parquet(path)
context = gx.get_context(mode="ephemeral")
source = context.data_sources.add_pandas("files").add_dataframe_asset("table")
batch = source.add_batch_definition_whole_dataframe("whole")
expect, suite = gx.expectations, gx.ExpectationSuite("quality")
for name in frame.columns:
    suite.add_expectation(expect.ExpectColumnValuesToNotBeNull(column=name))
    if pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name]):
        suite.add_expectation(expect.ExpectColumnValueZScoresToBeLessThan(
            column=name, threshold=3.5, double_sided=True))
    elif not pd.api.types.is_bool_dtype(frame[name]) and not pd.api.types.is_datetime64_any_dtype(frame[name]):
        suite.add_expectation(expect.ExpectColumnValuesToNotMatchRegex(column=name, regex=r"^\\\\s*$"))
        suite.add_expectation(expect.ExpectColumnValuesToNotMatchRegex(
            column=name, regex="[\\ufffd\\x00-\\x08\\x0e-\\x1f\\x7f]"))
        suite.add_expectation(expect.ExpectColumnValueLengthsToBeBetween(column=name, max_value=5_000))
suite.add_expectation(expect.ExpectCompoundColumnsToBeUnique(column_list=list(frame.columns)))
context.suites.add(suite)
run = context.validation_definitions.add(gx.ValidationDefinition(name="run", data=batch, suite=suite))
found = run.run(result_format="SUMMARY", batch_parameters={"dataframe": frame})
nulls = {r.expectation_config.kwargs["column"]: r.result["unexpected_count"] for r in found.results
    if r.expectation_config.type == "expect_column_values_to_not_be_null"}
failed = [r for r in found.results if r.exception_info and r.exception_info.get("raised_exception")]
assert not failed, failed[:1]
answer = dict(nulls=[nulls[name] for name in frame.columns], rows=len(frame), expectations=len(found.results))
"""


def generate(path: Path, megabytes: int) -> int:
    """A table of tickets whose content takes so many megabytes, as polars writes it; the number of rows."""
    texts = np.array([ticket.text for ticket in tickets(20_000, 11)])
    chance = np.random.default_rng(11)
    words = random.Random(11)
    names = np.array(["".join(words.choices("abcdefghijklmnop", k=9)) for _ in range(5_000)])
    pieces, size, rows = [], 0, 0
    while size < megabytes * 1e6:
        part = path.with_suffix(f".{len(pieces)}")
        frame = _tickets(texts, names, chance, rows, 100_000)
        frame.write_parquet(part)
        pieces.append(part)
        size, rows = size + frame.estimated_size(), rows + 100_000
    pl.scan_parquet(pieces, glob=False).sink_parquet(path, row_group_size=100_000)
    for part in pieces:
        part.unlink()
    return rows


def _tickets(texts: Any, names: Any, chance: np.random.Generator, first: int, rows: int) -> pl.DataFrame:
    hexes = chance.integers(0, 2**63, rows)
    frame = pl.DataFrame(
        {
            "id": np.arange(first, first + rows),
            "message": texts[chance.integers(0, len(texts), rows)],
            "reference": hexes,
            "customer": names[chance.integers(0, len(names), rows)],
            "channel": np.array(["mail", "chat", "phone", "app"])[chance.integers(0, 4, rows)],
            "language": np.array(["en", "ko"])[(chance.random(rows) < 0.12).astype(int)],
            "priority": chance.integers(1, 5, rows),
            "amount": np.round(chance.lognormal(3, 1, rows), 2),
            "minutes": chance.exponential(90, rows),
            "rating": chance.integers(1, 6, rows),
            "open": chance.random(rows) < 0.2,
            "opened": np.datetime64("2025-01-01", "us") + chance.integers(0, 10**13, rows).astype("timedelta64[us]"),
            "agent": names[chance.integers(0, 200, rows)],
            "product": names[chance.integers(0, 40, rows)],
            "version": np.array(["10.4.2", "10.4.1", "9.8"])[chance.integers(0, 3, rows)],
        }
    )
    changed = frame.with_columns(
        pl.col("message") + " Reference " + pl.col("reference").cast(pl.String),
        *(
            pl.when(pl.col("id") % every != 0).then(pl.col(name)).alias(name)
            for name, every in (("rating", 7), ("agent", 50), ("minutes", 100))
        ),
    )
    return pl.concat([changed.head(rows - rows // 200), changed.head(rows // 200)])


def measure(python: str, program: str, path: Path) -> dict[str, Any]:
    """What one process says about itself, imports included."""
    command = [python, "-c", MEASURED.format(program=program), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."})
    if done.returncode:
        sys.exit(f"a run failed:\n{done.stderr[-3_000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """Measure in turns and print medians and ratios; exits with 1 when the counts of empty cells differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", action="store_true", help="leave Great Expectations out")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tickets.parquet"
        rows = generate(path, chosen.megabytes)
        on_disk = path.stat().st_size / 1e6
        print(f"{chosen.megabytes} MB of content ({on_disk:.0f} MB of Parquet), {rows:,} rows, 15 columns")
        found: dict[str, list[dict[str, Any]]] = {"scan": [], "ours": [], "Great Expectations": []}
        for number in range(chosen.rounds):
            found["scan"].append(measure(sys.executable, SCAN, path))
            found["ours"].append(measure(sys.executable, OURS, path))
            if not number and not chosen.without:
                found["Great Expectations"].append(measure(ALTERNATIVES, GREAT_EXPECTATIONS, path))
    medians = {
        name: {figure: statistics.median(run[figure] for run in each) for figure in ("wall", "cpu", "peak")}
        for name, each in found.items()
        if each
    }
    for name, each in medians.items():
        print(f"{name:20} {each['wall']:7.2f} s wall {each['cpu']:7.2f} s CPU {each['peak'] / 1e6:7.0f} MB peak")
    ours = medians["ours"]
    scoring, near = (
        {figure: statistics.median(run["answer"][step][figure] for run in found["ours"]) for figure in ("wall", "cpu")}
        for step in ("scoring", "near")
    )
    scan = medians["scan"]
    for what, spent in (("whole report", ours), ("scoring what was parsed", scoring)):
        ratio = {figure: spent[figure] / scan[figure] for figure in scoring}
        kept = "kept" if ratio["wall"] <= 3 else "NOT kept"
        print(f"{what} / scan: wall {ratio['wall']:.1f}, CPU {ratio['cpu']:.1f} (promise 3: {kept})")
    if gx := medians.get("Great Expectations"):
        for what, less in (("ours", {"wall": 0.0, "cpu": 0.0}), ("ours less near duplicates, not asked of it", near)):
            ratio = {figure: gx[figure] / (ours[figure] - less[figure]) for figure in near}
            kept = "kept" if ratio["wall"] >= 5 else "NOT kept"
            print(f"Great Expectations / {what}: wall {ratio['wall']:.1f}, CPU {ratio['cpu']:.1f} (promise 5: {kept})")
        print(f"Great Expectations takes {gx['peak'] / ours['peak']:.1f} times the memory")
    print(f"peak memory {ours['peak'] / 1e6:.0f} MB (promise 1,000: {'kept' if ours['peak'] < 1e9 else 'NOT kept'})")
    print(found["ours"][0]["answer"])
    nulls = {"scan": found["scan"][0]["answer"]}
    nulls |= {name: each[0]["answer"]["nulls"] for name, each in found.items() if name != "scan" and each}
    if any(list(each) != list(nulls["scan"]) for each in nulls.values()):
        sys.exit(f"the counts of empty cells differ: {nulls}")


if __name__ == "__main__":
    main()
