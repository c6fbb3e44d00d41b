"""The catalog's names as Dagster's asset graph.

The state is read from the database once, when the code location loads; the runs it launches rebuild the very same
definitions from that state and never read the catalog again. What the graph looks like is a pure function of the
state: edges between names can form a cycle although versions cannot, so the younger edge of a cycle is left out.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

import dagster as dg
from dagster._core.definitions.definitions_load_context import StateBackedDefinitionsLoader
from sqlalchemy.exc import SQLAlchemyError

from llmops_resources.catalog import lineage, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.lineage import NameEdge
from llmops_resources.checks import comparisons
from llmops_resources.database import Actor, Transaction
from llmops_resources.errors import Unavailable
from llmops_resources.evaluation import run_lists
from llmops_resources.pages import Position
from llmops_resources.platform import open_platform
from llmops_resources.serving import endpoints
from llmops_resources.settings import Settings
from llmops_resources.training import jobs
from llmops_resources.values import Value, sha256_of

ACTOR: Final = Actor("system:mirror")
PATIENCE: Final = 120.0  # seconds that a starting code server waits for the database and its migrations
log = logging.getLogger(__name__)

Key = tuple[str, ...]
Edge = tuple[Key, Key]


class CatalogState(Value):
    """Every name Dagster shows: data sets, those of them that were compared, models, and the pairs and triples below.

    `evaluations` are (model, benchmark), `endpoints` are (environment, route, model).
    """

    datasets: tuple[str, ...] = ()
    comparisons: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    evaluations: tuple[tuple[str, str], ...] = ()
    endpoints: tuple[tuple[str, str, str], ...] = ()
    made_from: tuple[NameEdge, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Equal for equal graphs: `sha256:<hex>`."""
        return sha256_of(self.json_dict())

    @property
    def keys(self) -> frozenset[Key]:
        """The keys of all assets that can be materialized."""
        return frozenset(
            [("datasets", name) for name in self.datasets]
            + [("validation_reports", name) for name in self.datasets]
            + [("comparisons", name) for name in self.comparisons]
            + [("models", name) for name in self.models]
            + [("evaluations", model, benchmark) for model, benchmark in self.evaluations]
            + [("endpoints", environment, route) for environment, route, _model in self.endpoints]
        )


def read(tx: Transaction) -> CatalogState:
    """The state the catalog asks for now. A model some job is making counts, though it has no version yet."""
    pairs = set(run_lists.name_pairs(tx))
    live = _endpoints(tx)
    models = {*versions.names(tx, Kind.MODEL), *jobs.output_names(tx)}
    return CatalogState(
        datasets=tuple(versions.names(tx, Kind.DATASET)),
        comparisons=tuple(comparisons.names(tx)),
        models=tuple(sorted(models)),
        evaluations=tuple(sorted(pairs)),
        endpoints=tuple(sorted(live)),
        made_from=tuple(lineage.name_edges(tx)),
    )


def edges(state: CatalogState) -> tuple[list[Edge], list[Edge]]:
    """(kept, dropped) edges (upstream, downstream) of the asset graph; the kept ones are free of cycles.

    The oldest edges win; an edge that would close a cycle, or whose ends are not in the state, is dropped.
    """
    wanted: list[Edge] = [(("datasets", name), ("validation_reports", name)) for name in state.datasets]
    wanted += [(("datasets", name), ("comparisons", name)) for name in state.comparisons]
    oldest_first = sorted(state.made_from, key=lambda e: (e.since, e.parent_kind, e.parent_name, e.child_name))
    wanted += [((f"{e.parent_kind}s", e.parent_name), (f"{e.child_kind}s", e.child_name)) for e in oldest_first]
    for model, benchmark in state.evaluations:
        wanted += [
            (("models", model), ("evaluations", model, benchmark)),
            (("datasets", benchmark), ("evaluations", model, benchmark)),
        ]
    wanted += [(("models", model), ("endpoints", env, route)) for env, route, model in state.endpoints]
    return acyclic(edge for edge in wanted if set(edge) <= state.keys)


def acyclic(wanted: Iterable[Edge]) -> tuple[list[Edge], list[Edge]]:
    """(kept, dropped): each edge in turn is kept unless it would close a cycle with those kept before it."""
    downstream: dict[Key, dict[Key, None]] = {}
    dropped: list[Edge] = []
    for up, down in wanted:
        if up == down or _reaches(downstream, down, up):
            dropped.append((up, down))
        else:
            downstream.setdefault(up, {})[down] = None
    return [(up, down) for up, downs in downstream.items() for down in downs], dropped


def upstream_of(kept: Iterable[Edge]) -> dict[Key, list[Key]]:
    """Each asset's upstream keys, in a stable order."""
    result: dict[Key, list[Key]] = {}
    for up, down in sorted(kept):
        result.setdefault(down, []).append(up)
    return result


class Mirror(StateBackedDefinitionsLoader[str]):
    """Loads the state when a code location starts, or takes over the state it was launched with inside a run."""

    def __init__(self, build: Callable[[CatalogState], dg.Definitions]) -> None:
        self._build = build

    @property
    def defs_key(self) -> str:
        """The key under which Dagster carries our state from the code server into its runs."""
        return "llmops/catalog"

    def fetch_state(self) -> str:
        """The state as JSON. Waits for a database that is starting or being migrated; then raises Unavailable."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with (
                    open_platform(Settings(), application="llmops-mirror") as platform,
                    platform.transaction(ACTOR) as tx,
                ):
                    return read(tx).model_dump_json(by_alias=True)
            except (Unavailable, SQLAlchemyError) as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("waiting for the database: %s", str(error).splitlines()[0])
                time.sleep(1)

    def defs_from_state(self, state: str) -> dg.Definitions:
        """The definitions of a state."""
        return self._build(CatalogState.model_validate_json(state))


def _reaches(downstream: dict[Key, dict[Key, None]], start: Key, goal: Key) -> bool:
    waiting, seen = [start], {start}
    while waiting:
        here = waiting.pop()
        if here == goal:
            return True
        for there in downstream.get(here, ()):
            if there not in seen:
                seen.add(there)
                waiting.append(there)
    return False


def _endpoints(tx: Transaction) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    after: Position | None = None
    while True:
        page = endpoints.search(tx, after=after, limit=500)
        found |= {(str(entry.environment), entry.route, entry.model_name) for entry in page.items}
        if (after := page.next) is None:
            return found
