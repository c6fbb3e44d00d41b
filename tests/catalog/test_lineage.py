"""Lineage is exact, in both directions, and acyclic."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.catalog import lineage, versions
from llmops_resources.catalog.lifecycle import Kind, Status, check_move
from llmops_resources.catalog.lineage import Direction, Role
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, ValidationFailed
from llmops_resources.platform import Platform
from tests.factories import uploaded


def test_a_model_knows_its_data_and_the_data_its_models(platform: Platform, admin: Actor) -> None:
    corpus, pairs = uploaded(platform, Kind.DATASET, "corpus"), uploaded(platform, Kind.DATASET, "pairs")
    base, tuned = uploaded(platform, Kind.MODEL, "base"), uploaded(platform, Kind.MODEL, "tuned")
    with platform.transaction(admin) as tx:
        lineage.record(tx, parent=corpus.id, child=base.id, role=Role.TRAINED_ON)
        lineage.record(tx, parent=base.id, child=tuned.id, role=Role.FINE_TUNED_FROM)
        lineage.record(tx, parent=pairs.id, child=tuned.id, role=Role.TRAINED_ON)
    with platform.transaction(admin) as tx:
        up = lineage.graph(tx, tuned.id, Direction.UP)
        down = lineage.graph(tx, corpus.id, Direction.DOWN)
        alone = lineage.graph(tx, tuned.id, Direction.DOWN)
        names = lineage.name_edges(tx)
    assert {node.name for node in up.nodes} == {"corpus", "pairs", "base", "tuned"}
    assert {node.name for node in down.nodes} == {"corpus", "base", "tuned"}
    assert alone.edges == ()
    assert [(edge.parent_name, edge.child_name) for edge in names] == [
        ("corpus", "base"), ("base", "tuned"), ("pairs", "tuned"),
    ]  # fmt: skip


def test_recording_an_edge_twice_changes_nothing(platform: Platform, admin: Actor) -> None:
    corpus, base = uploaded(platform, Kind.DATASET, "corpus"), uploaded(platform, Kind.MODEL, "base")
    for _ in range(2):
        with platform.transaction(admin) as tx:
            lineage.record(tx, parent=corpus.id, child=base.id, role=Role.TRAINED_ON)
    with platform.transaction(admin) as tx:
        assert len(lineage.graph(tx, base.id).edges) == 1


@given(st.lists(st.sampled_from(list(Status)), max_size=12))
def test_every_way_to_approved_leads_through_review(walk: list[Status]) -> None:
    states = [Status.DRAFT]
    for step in walk:
        with suppress(Conflict):
            check_move(states[-1], step)
            states.append(step)
    if Status.APPROVED in states:
        assert states[states.index(Status.APPROVED) - 1] is Status.UNDER_REVIEW


def test_bad_names_are_all_listed_at_once(platform: Platform, admin: Actor) -> None:
    with pytest.raises(ValidationFailed) as failure, platform.transaction(admin) as tx:
        versions.create(tx, Kind.DATASET, name="../Etc", version="a b", owner_team=" ")
    assert [problem["path"] for problem in failure.value.details] == ["name", "version", "ownerTeam"]
