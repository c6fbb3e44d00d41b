"""Rows of the cost room. Money is numeric with twelve places: a price per million tokens makes exact amounts."""

from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Index, Numeric, String, text
from sqlalchemy.orm import Mapped, mapped_column

from llmops_resources.database import Base
from llmops_resources.values import utc_now

Money = Numeric(24, 12)


class PriceRow(Base):
    """What a million tokens of a model cost from a moment on; a new price is a new row."""

    __tablename__ = "prices"
    __table_args__ = (Index("uq_prices_model_from", "provider", "model", "valid_from", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    provider: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(200))
    prompt: Mapped[Decimal] = mapped_column(Money)
    completion: Mapped[Decimal] = mapped_column(Money)
    currency: Mapped[str] = mapped_column(String(3))
    valid_from: Mapped[datetime]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class LedgerRow(Base):
    """One amount; only ever added, which a trigger of the database keeps too. `at` is when the call began.

    No foreign keys: what was spent is spent, whatever happens to the model or the key.
    """

    __tablename__ = "ledger_entries"
    __audited__: ClassVar[bool] = False
    __table_args__ = (
        Index("ix_ledger_entries_page", "at", "id"),
        Index("ix_ledger_entries_team_at", "team", "at"),
        Index("ix_ledger_entries_holder_at", "holder", "at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)  # the usage record's, which makes booking it again harmless
    kind: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    team: Mapped[str] = mapped_column(String(128))
    key_id: Mapped[UUID | None] = mapped_column(index=True)
    actor_id: Mapped[str]
    route: Mapped[str] = mapped_column(String(64))
    model_id: Mapped[UUID]
    model: Mapped[str] = mapped_column(String(200))
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    amount: Mapped[Decimal] = mapped_column(Money)
    currency: Mapped[str] = mapped_column(String(3))
    price_id: Mapped[UUID | None]
    holder: Mapped[UUID | None]
    corrects: Mapped[UUID | None]
    reason: Mapped[str] = mapped_column(default="")
    booked_at: Mapped[datetime] = mapped_column(default=utc_now)


class BudgetRow(Base):
    """What a team, or one key of it, may spend in each period."""

    __tablename__ = "budgets"
    __table_args__ = (
        Index(
            "uq_budgets_scope", "team", "key_id", "period", unique=True, postgresql_nulls_not_distinct=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    team: Mapped[str] = mapped_column(String(128))
    key_id: Mapped[UUID | None]
    period: Mapped[str] = mapped_column(String(8))
    amount: Mapped[Decimal] = mapped_column(Money)
    currency: Mapped[str] = mapped_column(String(3))
    updated_by: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)
    ended_at: Mapped[datetime | None]


class LeaseRow(Base):
    """The part of a budget's period that one process may spend without asking; telemetry that bounds it.

    The sum of `granted` is what is spent and what could be at most. The holder of zeros has what was spent before the
    budget was declared.
    """

    __tablename__ = "budget_leases"
    __audited__: ClassVar[bool] = False

    budget_id: Mapped[UUID] = mapped_column(ForeignKey("budgets.id"), primary_key=True)
    starts: Mapped[date] = mapped_column(primary_key=True)
    holder: Mapped[UUID] = mapped_column(primary_key=True)
    granted: Mapped[Decimal] = mapped_column(Money)
    renewed_at: Mapped[datetime]
