"""Lineage with its leaves: what the rooms did with a version and with everything that came from it."""

from typing import Any
from uuid import UUID

from sqlalchemy import union_all

from llmops_resources.catalog import lineage, recalls, versions
from llmops_resources.catalog.lineage import Direction, Edge, Graph, Node, Role
from llmops_resources.catalog.recalls import Recall
from llmops_resources.database import Transaction
from llmops_resources.evaluation import uses
from llmops_resources.serving import endpoints
from llmops_resources.values import Value


class Impact(Value):
    """Everything that came from a version, itself not counted; `recall` is the open recall that began with it."""

    version: Node
    models: tuple[Node, ...]
    datasets: tuple[Node, ...]
    others: tuple[Node, ...]
    evaluations: tuple[Node, ...]
    endpoints: tuple[Node, ...]
    recall: Recall | None


def impact(tx: Transaction, root: UUID) -> Impact:
    """What came from a version, found in one query. Raises NotFound."""
    versions.get(tx, root)
    nodes = [lineage.node_value(row) for row in _reached(tx, root)]
    known = {"model", "dataset", "evaluation", "endpoint"}

    def of(kind: str) -> tuple[Node, ...]:
        return tuple(node for node in nodes if node.kind == kind and node.id != root)

    return Impact(
        version=next(node for node in nodes if node.id == root),
        models=of("model"),
        datasets=of("dataset"),
        others=tuple(node for node in nodes if node.kind not in known and node.id != root),
        evaluations=of("evaluation"),
        endpoints=of("endpoint"),
        recall=recalls.open_of(tx, root),
    )


def graph(tx: Transaction, root: UUID, direction: Direction = Direction.BOTH) -> Graph:
    """The versions around a version, and downwards the evaluations and endpoints as well. Raises NotFound."""
    around = lineage.graph(tx, root, direction)
    if direction is Direction.UP:
        return around
    rows = [row for row in _reached(tx, root) if row.subject is not None]
    below = {root} | {edge.child_id for edge in lineage.edges(tx, root, Direction.DOWN)}
    leaves = tuple(lineage.node_value(row) for row in rows)
    edges = tuple(edge for row in rows for edge in _leaf_edges(row) if edge.parent_id in below)
    return Graph(root=root, nodes=around.nodes + leaves, edges=around.edges + edges)


def _reached(tx: Transaction, root: UUID) -> list[Any]:
    ids = lineage.came_from(root)
    everything = union_all(lineage.versions_in(ids), uses.leaves(ids), endpoints.leaves(ids)).subquery()
    return list(tx.session.execute(everything.select().order_by(everything.c.name, everything.c.version)))


def _leaf_edges(row: Any) -> list[Edge]:
    role = Role.EVALUATED if row.kind == "evaluation" else Role.SERVED
    edges = [Edge(parent_id=row.subject, child_id=row.id, role=role)]
    if row.benchmark is not None:
        edges.append(Edge(parent_id=row.benchmark, child_id=row.id, role=Role.BENCHMARK))
    return edges
