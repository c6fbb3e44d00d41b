"""Parity: a runtime, image or setting that differs from the environment below keeps a route from being promoted.

What may differ is written down with its reason, which holds for exactly the two values it was written about: when
either of them changes, it is asked for again. Going back to an earlier revision is never held up.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, ValidationFailed, field_problem
from llmops_resources.serving import wishes
from llmops_resources.serving.environments import BELOW, Environment
from llmops_resources.serving.tables import EndpointRow, ParityRow
from llmops_resources.values import Value, sha256_of, utc_now

SHORTEST: Final = 10  # characters of a reason, so that it says something
LONGEST: Final = 2_000


class Divergence(Value):
    """A setting that differs between two environments, and why it may; without a reason it blocks promotion."""

    field: str
    here: Any
    there: Any
    reason: str | None = None
    written_by: str | None = None
    written_at: datetime | None = None

    @property
    def blocks(self) -> bool:
        return self.reason is None


class Parity(Value):
    """An environment compared with the one below that serves the same route; `against` is None where none does."""

    environment: Environment
    against: Environment | None
    drifts: tuple[Divergence, ...]
    blocked: bool


def compare(tx: Transaction, environment: Environment, route: str, wanted: Mapping[str, Any]) -> Parity:
    """What would differ if the route were served in an environment with these settings (`wishes.of_environment`)."""
    below = _below(tx, environment, route)
    if below is None:
        return Parity(environment=environment, against=None, drifts=(), blocked=False)
    against = Environment(below.environment)
    there = wishes.of_environment(below.backend, below.config)
    written = {row.field: row for row in tx.session.scalars(_written(environment, against, route))}
    drifts = []
    for found in wishes.differences(there, wanted):
        row = written.get(found.field)
        holds = row is not None and row.digest == _digest(found.after, found.before)
        drifts.append(
            Divergence(
                field=found.field,
                here=found.after,
                there=found.before,
                reason=row.reason if row and holds else None,
                written_by=row.written_by if row and holds else None,
                written_at=row.written_at if row and holds else None,
            )
        )
    return Parity(
        environment=environment, against=against, drifts=tuple(drifts), blocked=any(it.blocks for it in drifts)
    )


def require(
    tx: Transaction,
    environment: Environment,
    route: str,
    wanted: Mapping[str, Any],
    reasons: Mapping[str, str],
    *,
    touched: frozenset[str] | None = None,
) -> None:
    """Write the reasons given, and let pass what no undocumented difference holds up.

    `touched` limits the question to the settings that a change touches. Raises Conflict with every blocker, and
    ValidationFailed for a reason that says nothing or is about nothing that differs.
    """
    found = compare(tx, environment, route, wanted)
    if reasons:
        document(tx, found, route, reasons)
        found = compare(tx, environment, route, wanted)
    blockers = [it for it in found.drifts if it.blocks and (touched is None or it.field in touched)]
    if not blockers:
        return
    raise Conflict(
        f"/{route} would run otherwise in {environment} than in {found.against}",
        remedy=f"Make {found.against} and {environment} the same, or write down why they differ.",
        details=[
            field_problem(
                f"parityReasons.{it.field}",
                f"{found.against} has {_shown(it.there)}, {environment} would have {_shown(it.here)}",
                f"Use the same, or give the reason as parityReasons.{it.field}.",
            )
            for it in blockers
        ],
    )


def document(tx: Transaction, found: Parity, route: str, reasons: Mapping[str, str]) -> None:
    """Write down why settings differ. Raises ValidationFailed for what does not differ, or says too little."""
    drifts = {it.field: it for it in found.drifts}
    problems = []
    for field, reason in reasons.items():
        if field not in drifts:
            remedy = f"Give reasons for {', '.join(drifts)}." if drifts else "Leave it out."
            problems.append(field_problem(f"parityReasons.{field}"[:200], "does not differ", remedy))
        elif not SHORTEST <= len(reason.strip()) <= LONGEST:
            remedy = f"Write {SHORTEST} to {LONGEST} characters: why it differs, and why that is safe."
            problems.append(field_problem(f"parityReasons.{field}", "is no reason yet", remedy))
    if problems:
        raise ValidationFailed("the reasons cannot be written down", details=problems)
    for field, reason in reasons.items():
        drift = drifts[field]
        key = {"route": route, "environment": found.environment, "against": found.against, "field": field}
        values = {"digest": _digest(drift.here, drift.there), "reason": reason.strip(), "written_by": tx.actor.id,
                  "written_at": utc_now()}  # fmt: skip
        statement = insert(ParityRow).values({**key, **values})
        tx.session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
        tx.audit(
            "parity.document", "route", route, environment=found.environment, against=found.against, field=field,
            here=drift.here, there=drift.there, reason=reason.strip(),
        )  # fmt: skip


def of_route(tx: Transaction, route: str) -> Sequence[Parity]:
    """Every environment that serves a route, compared with the one below it."""
    query = select(EndpointRow).filter_by(route=route).where(EndpointRow.deleted_at.is_(None))
    rows = {Environment(row.environment): row for row in tx.session.scalars(query)}
    return [
        compare(tx, environment, route, wishes.of_environment(row.backend, row.config))
        for environment in Environment
        if (row := rows.get(environment)) is not None and BELOW[environment]
    ]


def _below(tx: Transaction, environment: Environment, route: str) -> EndpointRow | None:
    query = select(EndpointRow).filter_by(route=route).where(EndpointRow.deleted_at.is_(None))
    rows = {row.environment: row for row in tx.session.scalars(query)}
    return next((rows[below] for below in BELOW[environment] if below in rows), None)


def _written(environment: Environment, against: Environment, route: str) -> Any:
    return select(ParityRow).filter_by(route=route, environment=environment, against=against)


def _digest(here: Any, there: Any) -> str:
    return sha256_of([here, there])


def _shown(value: Any) -> str:
    return "nothing of its own" if value is None else str(value)[:200]
