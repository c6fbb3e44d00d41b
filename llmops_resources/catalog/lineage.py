"""Lineage between exact versions; acyclic, because a version's parents exist before it does."""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.tables import LineageRow, VersionRow
from llmops_resources.database import Transaction
from llmops_resources.values import Value


class Role(StrEnum):
    TRAINED_ON = "trained_on"
    FINE_TUNED_FROM = "fine_tuned_from"


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"
    BOTH = "both"


class Node(Value):
    """A version in the graph."""

    id: UUID
    kind: Kind
    name: str
    version: str
    status: str


class Edge(Value):
    """`child_id` was made from `parent_id`."""

    parent_id: UUID
    child_id: UUID
    role: Role


class Graph(Value):
    """Everything reachable from `root`."""

    root: UUID
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class NameEdge(Value):
    """An edge between names with the time it first appeared, for the asset graph."""

    parent_kind: Kind
    parent_name: str
    child_kind: Kind
    child_name: str
    since: str


def record(tx: Transaction, *, parent: UUID, child: UUID, role: Role) -> None:
    """Record an edge; recording it twice changes nothing."""
    tx.session.execute(
        insert(LineageRow).values(parent_id=parent, child_id=child, role=role).on_conflict_do_nothing()
    )
    tx.audit("lineage.record", "version", child, parent=str(parent), role=role)


def graph(tx: Transaction, root: UUID, direction: Direction = Direction.BOTH) -> Graph:
    """The versions a version came from, the ones that came from it, or both. Raises NotFound."""
    versions.get(tx, root)
    edges: dict[tuple[UUID, UUID, str], Edge] = {}
    for way in (Direction.UP, Direction.DOWN):
        if direction in {way, Direction.BOTH}:
            for edge in _reach(tx, root, way):
                edges[edge.parent_id, edge.child_id, edge.role] = edge
    ids = {root} | {edge.parent_id for edge in edges.values()} | {edge.child_id for edge in edges.values()}
    rows = tx.session.scalars(select(VersionRow).where(VersionRow.id.in_(ids)).order_by(VersionRow.created_at))
    nodes = tuple(
        Node(id=row.id, kind=Kind(row.kind), name=row.name, version=row.version, status=row.status) for row in rows
    )
    return Graph(root=root, nodes=nodes, edges=tuple(edges.values()))


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


def _reach(tx: Transaction, root: UUID, way: Direction) -> list[Edge]:
    here, there = LineageRow.child_id, LineageRow.parent_id
    if way is Direction.DOWN:
        here, there = there, here
    reached = select(LineageRow.parent_id, LineageRow.child_id, LineageRow.role).where(here == root).cte(recursive=True)
    joint = reached.c[there.key]
    step = select(LineageRow.parent_id, LineageRow.child_id, LineageRow.role).where(here == joint)
    rows = tx.session.execute(select(reached.union(step)))
    return [Edge(parent_id=row.parent_id, child_id=row.child_id, role=Role(row.role)) for row in rows]
