"""The mirror: any catalog becomes an acyclic asset graph with everybody's own names."""

import dagster as dg
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_assets.definitions import build
from llmops_assets.mirror import CatalogState, acyclic, edges, read, upstream_of
from llmops_assets.names import identifier, sparkline
from llmops_resources.catalog import lineage
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.lineage import NameEdge, Role
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from tests.factories import approved, uploaded

_names = st.text("ab-_1", min_size=1, max_size=4).filter(lambda name: name[0] not in "-_")
_kinds = st.sampled_from(list(Kind))
_name_edges = st.builds(
    lambda **fields: NameEdge(**fields),  # noqa: PLW0108  given the class, Hypothesis adds aliases
    parent_kind=_kinds, parent_name=_names, child_kind=_kinds, child_name=_names,
    since=st.integers(0, 9).map(str),
)  # fmt: skip
_states = st.builds(
    CatalogState,
    datasets=st.lists(_names, max_size=4, unique=True).map(tuple),
    models=st.lists(_names, max_size=4, unique=True).map(tuple),
    evaluations=st.lists(st.tuples(_names, _names), max_size=3, unique=True).map(tuple),
    endpoints=st.lists(st.tuples(st.just("dev"), _names, _names), max_size=3, unique_by=lambda triple: triple[:2]).map(
        tuple
    ),
    made_from=st.lists(_name_edges, max_size=12).map(tuple),
)


def _is_acyclic(pairs: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> bool:
    waiting = upstream_of(pairs)
    while waiting:
        free = [key for key, ups in waiting.items() if not any(up in waiting for up in ups)]
        if not free:
            return False
        for key in free:
            del waiting[key]
    return True


@given(_states)
def test_edges_between_names_never_form_a_cycle(state: CatalogState) -> None:
    kept, _dropped = edges(state)
    assert _is_acyclic(kept)


@given(st.lists(st.tuples(st.sampled_from("abcde").map(lambda c: (c,)), st.sampled_from("abcde").map(lambda c: (c,)))))
def test_an_edge_is_dropped_only_when_it_would_close_a_cycle(wanted: list[tuple[tuple[str], tuple[str]]]) -> None:
    kept, dropped = acyclic(wanted)
    assert set(kept) | set(dropped) == set(wanted)
    assert all(not _is_acyclic([*kept, edge]) or edge[0] == edge[1] for edge in dropped)


@given(_states)
@settings(max_examples=15, deadline=None)
def test_every_state_of_the_catalog_loads_as_definitions(state: CatalogState) -> None:
    repository = build(state).get_repository_def()
    materializable = set(repository.asset_graph.materializable_asset_keys)
    assert materializable == {dg.AssetKey(list(key)) for key in state.keys}


@given(_names, _names)
def test_different_names_have_different_identifiers(one: str, other: str) -> None:
    assert (identifier("models", one) == identifier("models", other)) == (one == other)


def test_of_two_edges_that_form_a_cycle_the_younger_is_left_out() -> None:
    made = [("a", "b", "2026-01-01"), ("b", "a", "2026-02-01")]
    state = CatalogState(
        models=("a", "b"),
        made_from=tuple(
            NameEdge(parent_kind=Kind.MODEL, parent_name=up, child_kind=Kind.MODEL, child_name=down, since=since)
            for up, down, since in reversed(made)
        ),
    )
    kept, dropped = edges(state)
    assert kept == [(("models", "a"), ("models", "b"))]
    assert dropped == [(("models", "b"), ("models", "a"))]


def test_the_state_is_read_from_the_catalog_with_its_lineage(platform: Platform, admin: Actor) -> None:
    dataset = approved(platform, Kind.DATASET, "facts")
    model = uploaded(platform, Kind.MODEL, "tiny")
    with platform.transaction(admin) as tx:
        before = read(tx).fingerprint
        lineage.record(tx, parent=dataset.id, child=model.id, role=Role.TRAINED_ON)
    with platform.transaction(admin) as tx:
        state = read(tx)
    assert (state.datasets, state.models) == (("facts",), ("tiny",))
    assert (("datasets", "facts"), ("models", "tiny")) in edges(state)[0]
    assert state.fingerprint != before


def test_a_curve_is_drawn_in_one_line() -> None:
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert len(sparkline([float(i) for i in range(1000)])) <= 60
    assert sparkline([]) == ""
