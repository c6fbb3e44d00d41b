"""The engine, and `transaction(actor)`: the only commit in the code base.

A transaction that wrote to an audited table must record at least one audit event, or it fails at commit. Telemetry
tables (metrics, usage, observed state) say `__audited__ = False`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import orjson
from psycopg.errors import DeadlockDetected, SerializationFailure
from sqlalchemy import CursorResult, DateTime, Delete, Engine, MetaData, create_engine, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, StatementError
from sqlalchemy.orm import DeclarativeBase, ORMExecuteState, Session, UOWTransaction

from llmops_resources.errors import InvalidInput, Unavailable

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of all rows. Rows are private to their room; what leaves a room is a frozen value."""

    __audited__: ClassVar[bool] = True
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
        list[str]: JSONB,
    }


@dataclass(frozen=True)
class Actor:
    """Who acts: a person, an API key (`key:<id>`), a job, or a part of the platform itself (`system:<part>`)."""

    id: str
    roles: frozenset[str] = frozenset()
    job_id: str | None = None
    key_id: UUID | None = None

    @property
    def is_system(self) -> bool:
        return self.id.startswith("system:")


@dataclass(frozen=True)
class AuditEvent:
    """What is about to be written to the audit log."""

    action: str
    resource_type: str
    resource_id: str
    result: str
    metadata: dict[str, Any]


@dataclass
class Transaction:
    """What a verb gets: the session, the actor, and the audit events that will be committed with the rows.

    `channels` are the outbox's channels that somebody receives.
    """

    session: Session
    actor: Actor
    single_user: bool = False
    channels: frozenset[str] = frozenset()
    events: list[AuditEvent] = field(default_factory=list)
    wrote: set[str] = field(default_factory=set)

    def audit(self, action: str, resource_type: str, resource_id: object, **metadata: Any) -> None:
        """Record that the actor did `action`; written when the transaction commits."""
        self.events.append(AuditEvent(action, resource_type, str(resource_id), "allowed", metadata))

    def erase(self, statement: Delete) -> int:
        """Delete rows without loading them; how many. The session must not be used for these rows afterwards."""
        done = self.session.execute(statement, execution_options={"synchronize_session": False})
        return done.rowcount if isinstance(done, CursorResult) else 0


class UnauditedWrite(RuntimeError):
    """A verb wrote rows without recording an audit event: a mistake in our own code, found at commit."""


def connect(url: str, *, pool_size: int = 10, application: str = "llmops") -> Engine:
    """An engine on PostgreSQL through psycopg 3; `url` may spell the driver or leave it out."""
    if url.startswith("postgresql://"):
        url = "postgresql+psycopg://" + url.removeprefix("postgresql://")
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=10,
        pool_pre_ping=True,
        json_serializer=lambda data: orjson.dumps(data, default=str).decode(),
        json_deserializer=orjson.loads,
        connect_args={"connect_timeout": 5, "application_name": application},
    )


@contextmanager
def unit_of_work(
    engine: Engine,
    actor: Actor,
    write_audit: Callable[[Transaction], None],
    *,
    single_user: bool,
    channels: frozenset[str] = frozenset(),
) -> Iterator[Transaction]:
    """Open a session, hand it over, and commit once at the end; roll back on any error.

    Raises Unavailable when the database cannot be reached or has ended a deadlock, UnauditedWrite when rows were
    written in silence.
    """
    with _database_errors(), Session(engine, expire_on_commit=False) as session:
        tx = Transaction(session, actor, single_user, channels)
        _watch_writes(session, tx)
        yield tx
        session.flush()
        if tx.wrote and not tx.events:
            raise UnauditedWrite(f"rows of {sorted(tx.wrote)} were written without an audit event")
        if tx.events:
            write_audit(tx)
        session.commit()


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if isinstance(error.orig, DeadlockDetected | SerializationFailure):
            raise Unavailable(
                "somebody changed the same things at the same moment",
                remedy="Try again; nothing was changed.",
            ) from error
        raise Unavailable(
            "the database cannot be reached",
            remedy="Check `llmops status` and DATABASE_URL, then try again; nothing was changed.",
        ) from error
    except (DataError, UnicodeEncodeError) as error:
        raise _unstorable() from error
    except StatementError as error:  # the driver never got it: a lone surrogate in a JSON column, for one
        if isinstance(error.orig, UnicodeEncodeError | TypeError):
            raise _unstorable() from error
        raise


def _unstorable() -> InvalidInput:
    return InvalidInput(
        "a value of the request cannot be stored",
        remedy="Leave out NUL characters and lone surrogates, and numbers or dates beyond what a database holds.",
    )


def _watch_writes(session: Session, tx: Transaction) -> None:
    def flushed(_session: Session, context: UOWTransaction) -> None:
        _ = context
        touched = [*session.new, *session.dirty, *session.deleted]
        tx.wrote.update(row.__tablename__ for row in touched if getattr(row, "__audited__", True))

    def executed(state: ORMExecuteState) -> None:
        if (state.is_insert or state.is_update or state.is_delete) and state.bind_mapper is not None:
            row = state.bind_mapper.class_
            if getattr(row, "__audited__", True):
                tx.wrote.add(row.__tablename__)

    event.listen(session, "after_flush", flushed)
    event.listen(session, "do_orm_execute", executed)
