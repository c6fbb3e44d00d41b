"""Keyset pages: newest first, stable while rows are added."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, func, select, tuple_

from llmops_resources.database import Transaction

Item = TypeVar("Item")
Position = tuple[datetime, UUID]


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some entries, how many there are in all, and where the next page starts (None after the last)."""

    items: list[Item]
    total: int
    next: Position | None


def fetch(
    tx: Transaction,
    query: Select[Any],
    order: tuple[Any, Any],
    *,
    after: Position | None,
    limit: int,
    value: Callable[[Any], Item],
) -> Page[Item]:
    """One page of the query's rows, ordered by the (time, id) columns given, both descending."""
    at, identifier = order
    total = tx.session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    if after is not None:
        query = query.where(tuple_(at, identifier) < after)
    rows = tx.session.scalars(query.order_by(at.desc(), identifier.desc()).limit(limit + 1)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    position = (getattr(last, at.key), getattr(last, identifier.key)) if last is not None else None
    return Page([value(row) for row in rows[:limit]], total, position)
