"""Comparing two versions of a million rows and ten columns: `python -m benchmarks.comparison [--rows N] [--rounds 3]`.

Our counts of rows and cells (`checks.matching`) beside datacompy's polars comparison and DuckDB's full join on the
key; and our whole comparison (`checks.diff`), which also has samples of rows, empty cells, and the drift of every
column. Each runs in a process of its own, imports included, in turns. One row in a hundred is changed:
2,000 added, 2,000 removed, 8,000 modified. Exits with 1 when the counts differ from these.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ALTERNATIVES = ".venv-bench/bin/python"
MEASURED = """
import json, resource, sys, time
from pathlib import Path
older, newer = sys.argv[1:3]
began = time.monotonic()
{program}
used = resource.getrusage(resource.RUSAGE_SELF)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps(dict(counts=list(map(int, counts)), cells=cells, wall=time.monotonic() - began,
    cpu=used.ru_utime + used.ru_stime, peak=int(status["VmHWM"].split()[0]) * 1024)))
"""
COUNTS = """
import polars as pl
from llmops_resources.checks.matching import changed_cells, keying, match
before, after = pl.scan_parquet(older), pl.scan_parquet(newer)
schema = before.collect_schema()
by = keying(schema, ["id"], 7)
found = match(before, after, by)
counts = found.added, found.removed, found.modified
cells = sum(changed_cells(before, after, found.differing, by, 4_000_000).values())
"""
WHOLE = """
from llmops_resources.checks.diff import DiffOptions, compare
from llmops_resources.checks.frames import open_table
from llmops_resources.checks.options import CheckOptions
tables = [open_table([(Path(p).name, Path(p))], Path("."), CheckOptions()) for p in (older, newer)]
found = compare(*tables, DiffOptions(key=("id",)), content=("older", "newer"))
counts = found.rows.added, found.rows.removed, found.rows.modified
cells = sum(column.changed_cells or 0 for column in found.columns)
"""
DATACOMPY = """
import polars as pl
from datacompy.polars import PolarsCompare
found = PolarsCompare(pl.read_parquet(older), pl.read_parquet(newer), join_columns="id")
counts = len(found.df2_unq_rows), len(found.df1_unq_rows), len(found.all_mismatch())
cells = int(sum(column["unequal_cnt"] for column in found.column_stats))
"""
DUCKDB = """
import duckdb
base = duckdb.connect()
base.execute("set enable_progress_bar = false")
names = [row[0] for row in base.execute(f"describe select * from '{older}'").fetchall() if row[0] != "id"]
differs = [f'o."{name}" is distinct from n."{name}"' for name in names]
both = "o.id is not null and n.id is not null"
figures = ["count(*) filter (o.id is null)", "count(*) filter (n.id is null)",
           f"count(*) filter ({both} and ({' or '.join(differs)}))",
           *(f"count(*) filter ({both} and {each})" for each in differs)]
row = base.execute(f"select {', '.join(figures)} from '{older}' o full join '{newer}' n on o.id = n.id").fetchone()
counts, cells = row[:3], sum(row[3:])
"""


def generate(folder: Path, rows: int) -> tuple[list[Path], list[int], int]:
    """Two versions, the true counts of added, removed and modified rows, and of changed cells."""
    chance = np.random.default_rng(7)
    words = np.array(["alpha", "beta", "gamma", "delta", "한국어", "epsilon"])
    older = pl.DataFrame(
        {
            "id": np.arange(rows),
            "amount": chance.normal(size=rows),
            "quantity": chance.integers(0, 1000, rows),
            "label": words[chance.integers(0, len(words), rows)],
            "text": [f"ticket {number} of a customer" for number in chance.integers(0, 10**6, rows)],
            "done": chance.random(rows) < 0.3,
            "price": chance.normal(size=rows) * 100,
            "stamp": chance.integers(0, 10**9, rows),
            "team": words[chance.integers(0, len(words), rows)],
            "delay": chance.exponential(size=rows),
        }
    )
    added = removed = rows // 500
    modified = rows // 125
    picked = chance.permutation(rows)
    gone, changed = picked[:removed], picked[removed : removed + modified]
    newer = (
        older.with_columns(
            amount=pl.when(pl.col("id").is_in(changed)).then(pl.col("amount") + 1).otherwise(pl.col("amount")),
            label=pl.when(pl.col("id").is_in(changed[: modified // 2])).then(pl.lit("new")).otherwise(pl.col("label")),
        )
        .filter(~pl.col("id").is_in(gone))
        .vstack(older.head(added).with_columns(id=pl.arange(rows, rows + added)))
    )
    paths = [folder / "older.parquet", folder / "newer.parquet"]
    for table, path in zip((older, newer), paths, strict=True):
        table.write_parquet(path)
    return paths, [added, removed, modified], modified + modified // 2


def measure(python: str, program: str, paths: list[Path]) -> dict[str, Any]:
    """What one process says about itself, imports included."""
    command = [python, "-c", MEASURED.format(program=program), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."})
    if done.returncode:
        sys.exit(f"a comparison failed:\n{done.stderr[-2_000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """Measure in turns, print medians and ratios, and refuse wrong counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    runs = {
        "ours": (sys.executable, COUNTS), "all of ours": (sys.executable, WHOLE),
        "datacompy": (ALTERNATIVES, DATACOMPY), "DuckDB": (ALTERNATIVES, DUCKDB),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        paths, truth, cells = generate(Path(folder), chosen.rows)
        found = {name: [] for name in runs}  # type: dict[str, list[dict[str, Any]]]
        for _ in range(chosen.rounds):
            for name, (python, program) in runs.items():
                found[name].append(measure(python, program, paths))
    medians = {
        name: {figure: statistics.median(run[figure] for run in each) for figure in ("wall", "cpu", "peak")}
        for name, each in found.items()
    }
    for name, each in medians.items():
        print(f"{name:12} {each['wall']:6.2f} s wall {each['cpu']:6.2f} s CPU {each['peak'] / 1e6:7.0f} MB peak")
    for name in ("datacompy", "DuckDB"):
        ratio = {figure: medians[name][figure] / medians["ours"][figure] for figure in ("wall", "cpu", "peak")}
        print(f"{name} / ours: wall {ratio['wall']:.1f}, CPU {ratio['cpu']:.1f}, memory {ratio['peak']:.1f}")
    right = (truth, cells)
    fast = medians["datacompy"]["wall"] >= 3 * medians["ours"]["wall"]
    fast = fast and medians["DuckDB"]["wall"] >= medians["ours"]["wall"]
    small = medians["datacompy"]["peak"] >= 3 * medians["ours"]["peak"]
    print(f"promised speed {'kept' if fast else 'NOT kept'}, promised memory {'kept' if small else 'NOT kept'}")
    wrong = [name for name, each in found.items() if any((run["counts"], run["cells"]) != right for run in each)]
    if wrong:
        sys.exit(f"the counts differ from {truth} rows and {cells} cells: {', '.join(wrong)}: {found}")
    print(f"identical counts: {truth[0]} added, {truth[1]} removed, {truth[2]} modified, {cells} changed cells")


if __name__ == "__main__":
    main()
