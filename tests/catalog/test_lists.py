"""Lists: every filter finds exactly its entries on pages that join without a gap, and its total is exact."""

from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.platform import Platform

SCORES = [None, 0.0, 10.0, 79.99, 80.0, 80.01, 95.1, 100.0]
FILL = "UPDATE catalog_versions SET quality_score = :score, benchmark = :benchmark WHERE id = :id"


@pytest.fixture
def filled(platform: Platform, admin: Actor) -> list[Version]:
    """Two dozen data sets that differ in everything a list filters by, newest first."""
    with platform.transaction(admin) as tx:
        made = [
            versions.create(
                tx, Kind.DATASET, name=f"{('corpus', 'pairs', 'a_b')[n % 3]}-{n // 6}", version=str(n),
                owner_team=f"team-{n % 4}", benchmark=n % 5 == 0,
            )
            for n in range(24)
        ]  # fmt: skip
        for n, made_one in enumerate(made):
            values = {"score": SCORES[n % len(SCORES)], "benchmark": n % 5 == 0, "id": made_one.id}
            tx.session.execute(text(FILL), values)
    with platform.transaction(admin) as tx:
        found = [versions.get(tx, one.id) for one in made]
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)


def score(one: Version) -> float:
    return -1.0 if one.quality_score is None else one.quality_score


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        ({}, lambda _: True),
        ({"name_contains": "pairs"}, lambda one: "pairs" in one.name),
        ({"name_contains": "_"}, lambda one: "_" in one.name),
        ({"name_contains": "%"}, lambda _: False),
        ({"filters": {"version": "7"}}, lambda one: one.version == "7"),
        ({"filters": {"owner_team": "team-1"}}, lambda one: one.owner_team == "team-1"),
        ({"filters": {"benchmark": True}}, lambda one: one.benchmark),
        ({"filters": {"benchmark": False}}, lambda one: not one.benchmark),
        ({"min_quality": 80.0}, lambda one: score(one) >= 80),
        ({"min_quality": 95.1}, lambda one: score(one) >= 95.1),
        ({"max_quality": 79.99}, lambda one: 0 <= score(one) <= 79.99),
        ({"min_quality": 10.0, "max_quality": 80.01}, lambda one: 10 <= score(one) <= 80.01),
        ({"min_quality": 1e-5}, lambda one: score(one) > 0),
        ({"name_contains": "corpus", "min_quality": 0.0, "filters": {"owner_team": "team-2"}},
         lambda one: "corpus" in one.name and score(one) >= 0 and one.owner_team == "team-2"),
    ],
)  # fmt: skip
def test_pages_join_to_exactly_what_passes_the_filter(
    platform: Platform, admin: Actor, filled: list[Version], asked: dict[str, Any], passes: Any
) -> None:
    expected = [one.id for one in filled if passes(one)]
    found, after = [], None
    with platform.transaction(admin) as tx:
        while True:
            page = versions.search(tx, Kind.DATASET, **{"filters": {}, **asked}, after=after, limit=3)
            found += [one.id for one in page.items]
            assert page.total == len(expected)
            if (after := page.next) is None:
                break
    assert found == expected


def test_the_bounds_of_the_quality_can_be_looked_up_in_its_index(
    platform: Platform, admin: Actor, filled: list[Version]
) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "count(*)" in statement:
            asked.append((statement, parameters))

    with platform.transaction(admin) as tx:
        connection = tx.session.connection()
        event.listen(connection, "before_cursor_execute", note)
        versions.search(tx, Kind.DATASET, filters={}, min_quality=10.0, max_quality=95.0, limit=3)
        ((statement, parameters),) = asked
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
    assert filled
    assert "(quality_score >= " in plan
    assert "::double precision" not in plan
