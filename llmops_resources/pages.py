"""Keyset pages: newest first, stable while rows are added."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, func, select, text, tuple_

from llmops_resources.database import Transaction

#: For the rest of the transaction. The default page cost is a spinning disk's, under which the planner would rather
#: read the whole table than an index; and a statement that is asked often would get one plan for all its values,
#: where a rare name and a common one need different ones.
_PLANNING: Final = text(
    "SELECT set_config('random_page_cost', '1.1', true), set_config('plan_cache_mode', 'force_custom_plan', true)"
)

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
    rows = tx.session.scalars(_one_more(query, order, after, limit)).all()
    return _page(rows, _total(tx, query, rows, after, limit), order, limit, value)


def fetch_by_key(
    tx: Transaction,
    keys: Select[Any, Any],
    row: Any,
    order: tuple[Any, Any],
    *,
    after: Position | None,
    limit: int,
    value: Callable[[Any], Item],
) -> Page[Item]:
    """As `fetch`, for wide rows: `keys` selects the two columns of `order`, and only a page's own rows are read whole.

    With an index that has every filtered column, finding the page and counting touch nothing but that index.
    """
    at, identifier = order
    tx.session.execute(_PLANNING)
    page = _one_more(keys, order, after, limit).subquery()
    whole = select(row).join(page, page.c[identifier.key] == identifier).order_by(at.desc(), identifier.desc())
    rows = tx.session.scalars(whole).all()
    return _page(rows, _total(tx, keys, rows, after, limit), order, limit, value)


def _total(
    tx: Transaction, query: Select[*tuple[Any, ...]], rows: Sequence[Any], after: Position | None, limit: int
) -> int:
    """How many entries there are on all pages; a first page that is not full has been counted by reading it."""
    if after is None and len(rows) <= limit:
        return len(rows)
    return tx.session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0


def _one_more(
    query: Select[*tuple[Any, ...]], order: tuple[Any, Any], after: Position | None, limit: int
) -> Select[*tuple[Any, ...]]:
    at, identifier = order
    if after is not None:
        query = query.where(tuple_(at, identifier) < after)
    return query.order_by(at.desc(), identifier.desc()).limit(limit + 1)


def _page(
    rows: Sequence[Any], total: int, order: tuple[Any, Any], limit: int, value: Callable[[Any], Item]
) -> Page[Item]:
    at, identifier = order
    last = rows[limit - 1] if len(rows) > limit else None
    position = (getattr(last, at.key), getattr(last, identifier.key)) if last is not None else None
    return Page([value(row) for row in rows[:limit]], total, position)
