"""What the database makes of records is what they say: entries of the ledger, users of experiments, rows of usage."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, fields
from sqlalchemy import select

from llmops_resources.cost.tables import LedgerRow
from llmops_resources.errors import InvalidInput
from llmops_resources.gateway import booking, usage
from llmops_resources.gateway.tables import UsageRow
from llmops_resources.gateway.usage import Outcome, UsageRecord
from llmops_resources.platform import Platform
from llmops_resources.prompts.experiments.plan import State
from llmops_resources.prompts.tables import ExperimentRow, ExposureRow
from tests.factories import ADMIN
from tests.gateway.records import a_record

#: A twelfth place is the last that money has.
CENT = Decimal("1e-12")
DEFAULTS = {each.name: each.default for each in fields(UsageRecord) if not each.required}
#: Of these, the first two count users.
EXPERIMENTS = {UUID(int=n): state for n, state in enumerate((State.RUNNING, State.STOPPED, State.CONCLUDED), 1)}
UNKNOWN = UUID(int=9)


def words(most: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=most)


zones = st.just(UTC) | st.integers(-14 * 4, 14 * 4).map(lambda n: timezone(timedelta(minutes=15 * n)))
maybe_ids = st.none() | st.uuids()
#: Their ids are given when they are booked: of an example's own, in the order drawn.
records = st.builds(
    a_record,
    request_id=words(64), at=st.datetimes(datetime(1970, 1, 2), datetime(2262, 1, 1), timezones=zones),  # noqa: DTZ001
    route=words(64), endpoint_id=st.uuids(), model_id=st.uuids(), model_digest=words(80), actor_id=words(300),
    prompt_tokens=st.integers(0, 2**31 - 1), completion_tokens=st.integers(0, 2**31 - 1), estimated=st.booleans(),
    latency_ms=st.floats(0, 1e12), status=st.sampled_from(Outcome), streamed=st.booleans(), team=words(128),
    key_id=maybe_ids, model=words(200),
    amount=st.none() | st.decimals(-(10**11), 10**11, places=18) | st.integers(-9, 9).map(Decimal),
    currency=st.sampled_from(("", "USD", "KRW")), price_id=maybe_ids, holder=maybe_ids, prompt_id=maybe_ids,
    experiment_id=st.none() | st.sampled_from((*EXPERIMENTS, UNKNOWN)),
    variant=st.none() | words(32), subject=st.none() | st.sampled_from("abc"), allocation=st.integers(0, 2**31 - 1),
)  # fmt: skip


def of_an_earlier_version(record: UsageRecord) -> bytes:
    """A line without the fields that have nothing to say."""
    return msgspec.json.encode({k: v for k, v in asdict(record).items() if k not in DEFAULTS or v != DEFAULTS[k]})


def entry(record: UsageRecord) -> dict[str, Any]:
    """What the ledger has of a call."""
    names = (
        "id", "at", "team", "key_id", "actor_id", "route", "model_id", "model", "prompt_tokens", "completion_tokens",
        "price_id", "holder",
    )  # fmt: skip
    return {
        **{name: getattr(record, name) for name in names},
        "amount": (record.amount or Decimal(0)).quantize(CENT, ROUND_HALF_UP), "currency": record.currency or "USD",
        "kind": "usage", "corrects": None, "reason": "",
    }  # fmt: skip


def exposures(called: Sequence[UsageRecord]) -> list[dict[str, Any]]:
    """Whom the experiments that count saw: each user once, with their first call."""
    seen: dict[tuple[UUID, str], dict[str, Any]] = {}
    for each in sorted(called, key=lambda record: (record.at, record.id)):
        counts = EXPERIMENTS.get(each.experiment_id or UNKNOWN) in {State.RUNNING, State.STOPPED}
        if each.experiment_id and counts and each.variant is not None and each.subject is not None:
            user = {
                "experiment_id": each.experiment_id, "subject": each.subject, "allocation": each.allocation,
                "variant": each.variant, "exchange_id": each.id, "exposed_at": each.at,
                "failed": each.status is Outcome.FAILED,
                "latency_ms": each.latency_ms if each.status is Outcome.SUCCEEDED else None,
                "cost": None if each.amount is None else float(each.amount),
            }  # fmt: skip
            seen.setdefault((each.experiment_id, each.subject), user)
    return list(seen.values())


def a_row(record: UsageRecord) -> dict[str, Any]:
    """What is kept of the call itself."""
    return {name: value for name, value in asdict(record).items() if name in UsageRow.__table__.columns}


def booked(platform: Platform, row: type[Any], order: Any, among: Any) -> list[dict[str, Any]]:
    """The rows among those of an example, by column; what only the database knows is left out."""
    with platform.transaction(ADMIN) as tx:
        found = tx.session.scalars(select(row).where(among).order_by(order)).all()
        names = {column.name for column in row.__table__.columns} - {"booked_at", "number", "rating", "rated_at"}
        return [{name: getattr(each, name) for name in names} for each in found]


def begun(platform: Platform) -> None:
    with platform.transaction(ADMIN) as tx:
        for number, (experiment, state) in enumerate(EXPERIMENTS.items()):
            tx.session.merge(
                ExperimentRow(
                    id=experiment, name="e", route=f"r{number}", hypothesis="", plan={}, salt=b"", state=state,
                    created_by="a",
                )
            )  # fmt: skip
        tx.audit("test", "test", "test")


@given(st.lists(st.tuples(records, st.booleans()), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_the_database_books_what_records_say(platform: Platform, drawn: list[tuple[UsageRecord, bool]]) -> None:
    begun(platform)
    mine = uuid4().hex[:30]
    called = [
        msgspec.structs.replace(record, id=uuid4(), subject=None if record.subject is None else mine + record.subject)
        for record, _ in drawn
    ]
    lines = [
        of_an_earlier_version(record) if earlier else usage.encode(record)
        for record, (_, earlier) in zip(called, drawn, strict=True)
    ]
    ids = [record.id for record in called]
    for new in (len(called), 0):
        with platform.transaction(ADMIN) as tx:
            assert booking.book(tx, lines) == new

        by_id = sorted(called, key=lambda record: record.id)
        assert booked(platform, LedgerRow, LedgerRow.id, LedgerRow.id.in_(ids)) == list(map(entry, by_id))
        assert booked(platform, UsageRow, UsageRow.id, UsageRow.id.in_(ids)) == list(map(a_row, by_id))
        counted = booked(platform, ExposureRow, ExposureRow.number, ExposureRow.subject.startswith(mine))
        assert counted == exposures(called)


def test_a_user_who_was_counted_stays_with_their_first_call(platform: Platform) -> None:
    begun(platform)
    experiment = next(iter(EXPERIMENTS))
    first, *later = (
        a_record(experiment_id=experiment, subject="ada", variant=variant, at=datetime(2026, 12, day, tzinfo=UTC))
        for day, variant in ((2, "a"), (1, "b"), (3, "b"))
    )
    for calls in ([first], later):
        with platform.transaction(ADMIN) as tx:
            assert booking.book(tx, list(map(usage.encode, calls))) == len(calls)

    counted = booked(platform, ExposureRow, ExposureRow.number, ExposureRow.subject == "ada")
    assert counted == exposures([first])


def test_the_records_of_a_transaction_are_booked_together_or_not_at_all(platform: Platform) -> None:
    good, poison = a_record(), a_record(team="\0")
    with pytest.raises(InvalidInput), platform.transaction(ADMIN) as tx:
        booking.book(tx, [usage.encode(good), usage.encode(poison)])
    assert booked(platform, LedgerRow, LedgerRow.id, LedgerRow.id == good.id) == []
    assert booked(platform, UsageRow, UsageRow.id, UsageRow.id == good.id) == []
