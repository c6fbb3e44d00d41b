"""Lists of 100,000 entries and the impact of one version in a graph of 10,000: `python -m benchmarks.catalog_lists`.

Medians through HTTP, envelope and exact totals included, of the API's own process: every filter of both lists, its
first page and one that starts in the middle of all entries. The alternative in the same run asks the same rows with an
index on the order of pages alone and reads whole rows to find a page, as a plain ORM listing does.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, text

from llmops_resources import database, migrate, postgres
from llmops_resources.catalog.lineage import Role
from llmops_resources.catalog.tables import LIST_FILTERS

LIST_PROMISE, IMPACT_PROMISE = 50.0, 1000.0

VERSIONS = """
INSERT INTO catalog_versions (id, kind, name, version, type, status, owner_team, created_by, created_at, change_log,
  card, benchmark, digest, storage_prefix, files, size_bytes, pii_status, quality_score, published_at)
SELECT gen_random_uuid(), CAST(:kind AS text), 'entry-' || md5((n / 5)::text), (n % 5)::text,
  CASE WHEN CAST(:kind AS text) = 'model' THEN (ARRAY['base', 'fine-tuned', 'external'])[1 + n % 3] END,
  (ARRAY['draft', 'under_review', 'approved', 'approved', 'rejected', 'deprecated'])[1 + n % 6],
  'team-' || n % 40, 'bench', now() - n * interval '1 second', 'change ' || n,
  jsonb_build_object('purpose', repeat('a sentence of a card. ', 12)), n % 20 = 0,
  'sha256:' || md5(n::text) || md5(n::text), 'p/' || n,
  jsonb_build_array(jsonb_build_object('path', 'part-0001.parquet', 'size', 1, 'sha256', md5(n::text) || md5(n::text))),
  1, CASE WHEN CAST(:kind AS text) = 'dataset' THEN (ARRAY['pending', 'clean', 'failed'])[1 + n % 3] END,
  CASE WHEN CAST(:kind AS text) = 'dataset' THEN n % 100 END, now()
FROM generate_series(1, :count) AS n
"""
# Each version has two parents before it: a graph as deep as it is wide.
GRAPH = """
WITH numbered AS (
  SELECT id, row_number() OVER (ORDER BY created_at, id) AS n FROM catalog_versions WHERE kind = 'model' LIMIT :count)
INSERT INTO catalog_lineage (parent_id, child_id, role, recorded_at)
SELECT parent.id, child.id, :role, now() FROM numbered child JOIN numbered parent
ON parent.n IN (child.n / 2, child.n - 1 - child.n % 7) AND parent.n < child.n AND child.n > 1
"""
ROOT = "SELECT id FROM catalog_versions WHERE kind = 'model' ORDER BY created_at, id LIMIT 1"


def fill(engine: Engine, count: int, graph: int) -> str:
    """Put in `count` data sets and as many models; returns the id from which `graph` models can be reached."""
    with engine.begin() as connection:
        for kind in ("dataset", "model"):
            connection.execute(text(VERSIONS), {"kind": kind, "count": count})
        connection.execute(text(GRAPH), {"count": graph, "role": Role.FINE_TUNED_FROM})
        root = str(connection.execute(text(ROOT)).scalar_one())
    vacuum(engine)
    return root


def vacuum(engine: Engine) -> None:
    """What autovacuum does by itself within a minute of such a load."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE catalog_versions"))
        connection.execute(text("VACUUM ANALYZE catalog_lineage"))


def milliseconds(act: Callable[[], object], times: int) -> float:
    """The median time of `act`, after two calls that do not count."""
    taken = []
    for _ in range(times + 2):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken[2:])


#: What each list is asked, as query parameters.
DATASETS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "name, common": {"name": "entry-a"},
    "name, every": {"name": "entry"},
    "name, rare": {"name": "c4ca4238"},
    "name, nothing": {"name": "no-such-name"},
    "version": {"version": "3"},
    "owner team": {"ownerTeam": "team-7"},
    "status": {"status": "approved"},
    "PII status": {"piiStatus": "failed"},
    "quality, few": {"minQuality": 95},
    "quality, many": {"minQuality": 10},
    "quality, range": {"minQuality": 40, "maxQuality": 60},
    "benchmark": {"benchmark": True},
    "no benchmark": {"benchmark": False},
    "all filters": {"name": "a", "ownerTeam": "team-7", "piiStatus": "clean", "minQuality": 10},
}
MODELS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "name, common": {"name": "entry-a"},
    "name, rare": {"name": "c4ca4238"},
    "type": {"type": "external"},
    "status": {"status": "draft"},
    "owner team": {"ownerTeam": "team-7"},
}


def middle(client: httpx.Client, path: str, entries: int) -> str:
    """The cursor after half of a list's entries; the position it names is one in any of the list's filters."""
    query: dict[str, Any] = {"limit": 500}
    for _ in range(entries // 1000):
        query["cursor"] = client.get(path, params=query).headers["x-next-cursor"]
    return str(query["cursor"])


def plain(engine: Engine, query: dict[str, Any]) -> Callable[[], object]:
    """The same list as a plain listing asks it: whole rows in order, and a count."""
    wanted = [f"name LIKE '%{query['name']}%'"] if "name" in query else []
    wanted += [f"owner_team = '{query['ownerTeam']}'"] if "ownerTeam" in query else []
    where = "FROM catalog_versions WHERE " + " AND ".join(["kind = 'dataset'", "deleted_at IS NULL", *wanted])
    count, page = "SELECT count(*) " + where, "SELECT * " + where + " ORDER BY created_at DESC, id DESC LIMIT 51"

    def ask() -> None:
        with engine.connect() as connection:
            connection.execute(text(count)).scalar_one()
            connection.execute(text(page)).all()

    return ask


def measure(client: httpx.Client, engine: Engine, root: str, entries: int, times: int) -> bool:
    """Print the table; whether every promise was kept."""
    kept = True
    print("| list | entries | first page, ms | deep page, ms | promise |\n|---|---:|---:|---:|---|")
    for path, filters in {"/catalog/datasets": DATASETS, "/catalog/models": MODELS}.items():
        deep = {"cursor": middle(client, path, entries)}
        for name, query in filters.items():
            total = int(client.get(path, params=query).raise_for_status().headers["x-total-count"])
            first, later = (milliseconds(listing(client, path, asked), times) for asked in (query, query | deep))
            kept &= max(first, later) < LIST_PROMISE
            outcome = verdict(max(first, later), LIST_PROMISE)
            print(f"| {path} {name} | {total:,} | {first:.1f} | {later:.1f} | {outcome} |", flush=True)
    found: list[httpx.Response] = []
    taken = milliseconds(lambda: found.append(client.get(f"/catalog/models/{root}/impact").raise_for_status()), 5)
    count = len(found[-1].json()["data"]["models"]) + 1
    kept &= taken < IMPACT_PROMISE
    print(f"| impact | {count:,} | {taken:.0f} | – | {verdict(taken, IMPACT_PROMISE)} |")
    drop_indexes(engine)
    for label in ("name, rare", "owner team"):
        taken = milliseconds(plain(engine, DATASETS[label]), times)
        print(f"| plain listing, its SQL alone: {label} | – | {taken:.1f} | – | the alternative |")
    return kept


def listing(client: httpx.Client, path: str, query: dict[str, Any]) -> Callable[[], object]:
    """One request for a page."""
    return lambda: client.get(path, params=query).raise_for_status()


def verdict(taken: float, promise: float) -> str:
    """Whether a promise in milliseconds was kept."""
    return f"{'kept' if taken < promise else 'NOT KEPT'}: under {promise:.0f} ms"


def drop_indexes(engine: Engine) -> None:
    """Leave the lists the order of pages alone."""
    with engine.begin() as connection:
        for name in ("page", *LIST_FILTERS):
            connection.execute(text(f"DROP INDEX ix_catalog_versions_{name}"))
        connection.execute(text("CREATE INDEX ix_plain ON catalog_versions (kind, created_at, id)"))
    vacuum(engine)


def main() -> int:
    """Set a platform up, fill it, measure it, take it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--graph", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "pg", free_port()
        url = postgres.start(data, databases=("bench",))
        engine = database.connect(url)
        try:
            migrate.upgrade(engine)
            root = fill(engine, arguments.entries, arguments.graph)
            with served(folder, url, port), httpx.Client(base_url=base(port), timeout=60) as client:
                await_ready(client)
                return 0 if measure(client, engine, root, arguments.entries, arguments.times) else 1
        finally:
            engine.dispose()
            postgres.stop(data)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def base(port: int) -> str:
    """The address of the API that is measured."""
    return f"http://127.0.0.1:{port}/llm-ops/v1"


@contextmanager
def served(folder: str, url: str, port: int) -> Iterator[None]:
    """The API in a process of its own for the time of a block."""
    settings = {"LLMOPS_HOME": folder, "DATABASE_URL": url, "API_PORT": str(port), "LOG_LEVEL": "WARNING"}
    child = subprocess.Popen([sys.executable, "-m", "serving_api"], env={**os.environ, **settings})
    try:
        yield
    finally:
        child.terminate()
        child.wait(20)


def await_ready(client: httpx.Client) -> None:
    """Wait until the API answers, at most a minute."""
    for _ in range(300):
        try:
            client.get("/catalog/models").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the API did not start")


if __name__ == "__main__":
    sys.exit(main())
