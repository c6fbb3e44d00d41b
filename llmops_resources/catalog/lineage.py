"""Lineage between exact versions; acyclic, because a version's parents exist before it does.

What the rooms above did with a version (an evaluation, an endpoint) is no version, but hangs on the graph as a leaf;
`node` is the shape in which a room hands its leaves over, so that all of them can be asked for in one query.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, String, Uuid, cast, literal, null, select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.catalog import quarantine, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.tables import LineageRow, VersionRow
from llmops_resources.database import Transaction
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.values import Value


class Role(StrEnum):
    """What a parent is to its child."""

    TRAINED_ON = "trained_on"
    FINE_TUNED_FROM = "fine_tuned_from"
    INITIALIZED_FROM = "initialized_from"
    EVALUATED = "evaluated"
    BENCHMARK = "benchmark"
    SERVED = "served"


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"
    BOTH = "both"


class Node(Value):
    """A version in the graph, or what was done with one: `kind` is also `evaluation` or `endpoint`.

    An evaluation is called by its benchmark, an endpoint by its route, with its environment for a version.
    """

    id: UUID
    kind: str
    name: str
    version: str
    status: str
    quarantined: bool = False
    deleted: bool = False


class Edge(Value):
    """`child_id` was made from `parent_id`, or done with it."""

    parent_id: UUID
    child_id: UUID
    role: Role


class Graph(Value):
    """Everything reachable from `root`."""

    root: UUID
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class Ancestry(Value):
    """The data sets that a model and its bases were made from, deleted ones too, and the models of unknown data."""

    datasets: tuple[Node, ...]
    unknown: tuple[Node, ...]


class NameEdge(Value):
    """An edge between names with the time it first appeared, for the asset graph."""

    parent_kind: Kind
    parent_name: str
    child_kind: Kind
    child_name: str
    since: str


def record(tx: Transaction, *, parent: UUID, child: UUID, role: Role) -> None:
    """Record an edge; recording it twice changes nothing. What comes from a recalled version is born in quarantine."""
    quarantine.keep_recalls_out(tx)
    tx.session.execute(insert(LineageRow).values(parent_id=parent, child_id=child, role=role).on_conflict_do_nothing())
    tx.audit("lineage.record", "version", child, parent=str(parent), role=role)
    quarantine.inherit(tx, parent=parent, child=child)


def declare(tx: Transaction, model_id: UUID, dataset_ids: Sequence[UUID]) -> None:
    """Record the data sets that a model made elsewhere was trained on. Raises ValidationFailed naming unknown ones."""
    known = set(tx.session.scalars(select(VersionRow.id).where(
        VersionRow.id.in_(dataset_ids), VersionRow.kind == Kind.DATASET, VersionRow.deleted_at.is_(None)
    )))  # fmt: skip
    problems = [
        field_problem(f"lineage.datasetIds.{number}", f"there is no data set {given}", "Give ids of the catalog.")
        for number, given in enumerate(dataset_ids)
        if given not in known
    ]
    if problems:
        raise ValidationFailed("the lineage names data sets that are not there", details=problems)
    for dataset_id in dataset_ids:
        record(tx, parent=dataset_id, child=model_id, role=Role.TRAINED_ON)


def trained_on(tx: Transaction, model_id: UUID) -> list[UUID]:
    """The data sets a model was trained on, those that were deleted left out."""
    query = select(LineageRow.parent_id).join(VersionRow, VersionRow.id == LineageRow.parent_id)
    query = query.where(LineageRow.child_id == model_id, LineageRow.role == Role.TRAINED_ON)
    alive = query.where(VersionRow.deleted_at.is_(None), VersionRow.kind == Kind.DATASET)
    return list(tx.session.scalars(alive.order_by(VersionRow.created_at)))


def ancestry(tx: Transaction, model_id: UUID) -> Ancestry:
    """All data sets a model came from, through its bases as well. Raises NotFound.

    Of unknown data is a model without a data set of its own: an import, say, whose data nobody named.
    """
    above = graph(tx, model_id, Direction.UP)
    told = {edge.child_id for edge in above.edges if edge.role is Role.TRAINED_ON}
    return Ancestry(
        datasets=tuple(node for node in above.nodes if node.kind == Kind.DATASET),
        unknown=tuple(node for node in above.nodes if node.kind == Kind.MODEL and node.id not in told),
    )


def graph(tx: Transaction, root: UUID, direction: Direction = Direction.BOTH) -> Graph:
    """The versions a version came from, the ones that came from it, or both. Raises NotFound."""
    versions.get(tx, root)
    found = edges(tx, root, direction)
    ids = {root} | {edge.parent_id for edge in found} | {edge.child_id for edge in found}
    rows = tx.session.execute(version_nodes(VersionRow.id.in_(ids)).order_by(VersionRow.created_at))
    return Graph(root=root, nodes=tuple(node_value(row) for row in rows), edges=tuple(found))


def edges(tx: Transaction, root: UUID, direction: Direction) -> list[Edge]:
    """The edges that can be reached from `root`, each once."""
    found: dict[tuple[UUID, UUID, str], Edge] = {}
    for way in (Direction.UP, Direction.DOWN):
        if direction in {way, Direction.BOTH}:
            for row in tx.session.execute(select(_reach(root, way))):
                edge = Edge(parent_id=row.parent_id, child_id=row.child_id, role=Role(row.role))
                found[edge.parent_id, edge.child_id, edge.role] = edge
    return list(found.values())


def came_from(root: UUID) -> Select[Any]:
    """The ids of a version and of everything that came from it, as part of a query."""
    reached = _reach(root, Direction.DOWN)
    return select(cast(literal(root), Uuid).label("id")).union(select(reached.c.child_id))  # type: ignore[return-value]


def node(
    kind: str,
    *,
    id: Any,  # noqa: A002  the column's name
    name: Any,
    version: Any,
    status: Any,
    subject: Any,
    benchmark: Any = None,
) -> Select[Any]:
    """The columns of a leaf: what was done with the version `subject`, and on the version `benchmark`."""
    return select(
        literal(kind).label("kind"),
        id.label("id"),
        cast(name, String).label("name"),
        cast(version, String).label("version"),
        cast(status, String).label("status"),
        literal(False).label("quarantined"),
        literal(False).label("deleted"),
        subject.label("subject"),
        (cast(null(), Uuid) if benchmark is None else benchmark).label("benchmark"),
    )


def version_nodes(which: ColumnElement[bool]) -> Select[Any]:
    """The same columns for versions, which are no leaves."""
    return select(
        VersionRow.kind.label("kind"),
        VersionRow.id.label("id"),
        cast(VersionRow.name, String).label("name"),
        cast(VersionRow.version, String).label("version"),
        cast(VersionRow.status, String).label("status"),
        VersionRow.quarantined_at.is_not(None).label("quarantined"),
        VersionRow.deleted_at.is_not(None).label("deleted"),
        cast(null(), Uuid).label("subject"),
        cast(null(), Uuid).label("benchmark"),
    ).where(which)


def versions_in(ids: Select[Any]) -> Select[Any]:
    """The nodes of the versions whose ids a query finds."""
    return version_nodes(VersionRow.id.in_(ids))


def node_value(row: Any) -> Node:
    """The public value of a row with the columns of `node`."""
    return Node(
        id=row.id,
        kind=row.kind,
        name=row.name,
        version=row.version,
        status=row.status,
        quarantined=row.quarantined,
        deleted=row.deleted,
    )


def children(tx: Transaction, version_id: UUID) -> list[Node]:
    """The versions made from a version that were not deleted."""
    made = select(LineageRow.child_id).where(LineageRow.parent_id == version_id)
    alive = version_nodes(VersionRow.id.in_(made) & VersionRow.deleted_at.is_(None))
    return [node_value(row) for row in tx.session.execute(alive.order_by(VersionRow.created_at))]


def name_edges(tx: Transaction) -> list[NameEdge]:
    """All edges between names, oldest first."""
    parent, child = VersionRow.__table__.alias("parent"), VersionRow.__table__.alias("child")
    query = (
        select(
            parent.c.kind.label("parent_kind"),
            parent.c.name.label("parent_name"),
            child.c.kind.label("child_kind"),
            child.c.name.label("child_name"),
            LineageRow.recorded_at,
        )
        .join(parent, parent.c.id == LineageRow.parent_id)
        .join(child, child.c.id == LineageRow.child_id)
        .order_by(LineageRow.recorded_at, LineageRow.parent_id, LineageRow.child_id)
    )
    seen: dict[tuple[str, str, str, str], NameEdge] = {}
    for row in tx.session.execute(query):
        key = (row.parent_kind, row.parent_name, row.child_kind, row.child_name)
        if key not in seen:
            seen[key] = NameEdge(
                parent_kind=Kind(row.parent_kind),
                parent_name=row.parent_name,
                child_kind=Kind(row.child_kind),
                child_name=row.child_name,
                since=row.recorded_at.isoformat(),
            )
    return list(seen.values())


def _reach(root: UUID, way: Direction) -> CTE:
    here, there = LineageRow.child_id, LineageRow.parent_id
    if way is Direction.DOWN:
        here, there = there, here
    reached = select(LineageRow.parent_id, LineageRow.child_id, LineageRow.role).where(here == root).cte(recursive=True)
    step = select(LineageRow.parent_id, LineageRow.child_id, LineageRow.role).where(here == reached.c[there.key])
    return reached.union(step)
