"""The audit log is a chain: what was written cannot be changed, removed or reordered in silence."""

import pytest
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.tables import VersionRow
from llmops_resources.database import Actor, UnauditedWrite
from llmops_resources.governance import audit
from llmops_resources.platform import Platform


def _create(platform: Platform, actor: Actor, count: int) -> None:
    for number in range(count):
        with platform.transaction(actor) as tx:
            versions.create(tx, Kind.DATASET, name="numbers", version=str(number), owner_team="research")


def _create_more(platform: Platform, actor: Actor) -> None:
    with platform.transaction(actor) as tx:
        versions.create(tx, Kind.DATASET, name="others", version="1", owner_team="research")


def _verdict(platform: Platform, actor: Actor) -> audit.ChainVerdict:
    with platform.transaction(actor) as tx:
        return audit.verify(tx.session)


def test_an_untouched_log_verifies(platform: Platform, admin: Actor) -> None:
    _create(platform, admin, 5)
    verdict = _verdict(platform, admin)
    assert verdict.intact
    assert verdict.entries == 5


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE audit_entries SET actor_id = 'somebody-else' WHERE id = 3", 3),
        ("UPDATE audit_entries SET details = '{\"name\": \"other\"}' WHERE id = 2", 2),
        ("DELETE FROM audit_entries WHERE id = 4", 4),
        ("UPDATE audit_entries SET id = id + 100 WHERE id = 1", 1),
    ],
)
def test_a_changed_entry_is_found(platform: Platform, admin: Actor, tampering: str, broken: int) -> None:
    _create(platform, admin, 5)
    with platform.engine.begin() as connection:
        connection.execute(sql(tampering))
    verdict = _verdict(platform, admin)
    assert not verdict.intact
    assert verdict.first_broken_id == broken


def _altered(platform: Platform, statement: str) -> None:
    with platform.engine.begin() as connection:
        connection.execute(sql(statement))


def test_entries_taken_off_the_end_are_missed_by_who_noted_the_last_hash(platform: Platform, admin: Actor) -> None:
    _create(platform, admin, 5)
    noted = _verdict(platform, admin).last_hash
    _create_more(platform, admin)
    with platform.transaction(admin) as tx:
        assert audit.verify(tx.session, noted).intact

    _altered(platform, "DELETE FROM audit_entries WHERE id > 4")
    with platform.transaction(admin) as tx:
        verdict = audit.verify(tx.session, noted)
    assert (verdict.intact, verdict.entries, verdict.first_broken_id) == (False, 4, 5)
    assert "taken off its end" in verdict.reason


def test_a_chain_that_was_written_anew_is_not_the_one_that_was_noted(platform: Platform, admin: Actor) -> None:
    _create(platform, admin, 3)
    noted = _verdict(platform, admin).last_hash
    _altered(platform, "TRUNCATE audit_entries")
    _create_more(platform, admin)
    assert _verdict(platform, admin).intact  # by itself the new chain is sound
    with platform.transaction(admin) as tx:
        assert not audit.verify(tx.session, noted).intact


def test_two_entries_that_changed_places_are_found(platform: Platform, admin: Actor) -> None:
    _create(platform, admin, 4)
    _altered(platform, "UPDATE audit_entries SET id = -1 WHERE id = 2")
    _altered(platform, "UPDATE audit_entries SET id = 2 WHERE id = 3")
    _altered(platform, "UPDATE audit_entries SET id = 3 WHERE id = -1")
    assert _verdict(platform, admin).first_broken_id == 2


def test_while_the_log_cannot_be_written_nothing_that_is_governed_happens(platform: Platform, admin: Actor) -> None:
    _altered(platform, "ALTER TABLE audit_entries RENAME TO elsewhere")
    with pytest.raises(SQLAlchemyError):
        _create(platform, admin, 1)
    _altered(platform, "ALTER TABLE elsewhere RENAME TO audit_entries")
    with platform.transaction(admin) as tx:
        assert versions.find(tx, Kind.DATASET, "numbers", "0") is None
    assert _verdict(platform, admin).entries == 0


def test_odd_values_in_an_entry_verify_after_the_round_trip(platform: Platform, admin: Actor) -> None:
    with platform.transaction(admin) as tx:
        text = "한국어 \u202e ' \" \\"
        tx.audit("test.odd", "test", "1", number=1e22, small=1e-7, text=text, nothing=None, deep={"b": [1]})
    assert _verdict(platform, admin).intact


def test_a_transaction_that_writes_in_silence_fails_and_leaves_nothing(platform: Platform, admin: Actor) -> None:
    with pytest.raises(UnauditedWrite), platform.transaction(admin) as tx:
        tx.session.add(
            VersionRow(kind="dataset", name="silent", version="1", status="draft", owner_team="x", created_by="x")
        )
    with platform.transaction(admin) as tx:
        assert versions.find(tx, Kind.DATASET, "silent", "1") is None


def test_a_bulk_change_in_silence_fails_too(platform: Platform, admin: Actor) -> None:
    from sqlalchemy import update

    _create(platform, admin, 1)
    with pytest.raises(UnauditedWrite), platform.transaction(admin) as tx:
        tx.session.execute(update(VersionRow).values(owner_team="thieves"))


def test_rows_and_their_audit_entry_roll_back_together(platform: Platform, admin: Actor) -> None:
    with pytest.raises(ZeroDivisionError), platform.transaction(admin) as tx:
        versions.create(tx, Kind.DATASET, name="numbers", version="1", owner_team="research")
        _ = 1 / 0
    assert _verdict(platform, admin).entries == 0


def test_the_search_filters_and_pages(platform: Platform, admin: Actor) -> None:
    _create(platform, admin, 5)
    with platform.transaction(admin) as tx:
        newest = audit.search(tx, action="dataset.create", limit=2)
        older = audit.search(tx, action="dataset.create", before_id=newest[-1].id, limit=10)
        nobody = audit.search(tx, actor_id="nobody")
    assert [entry.id for entry in newest] == [5, 4]
    assert [entry.id for entry in older] == [3, 2, 1]
    assert nobody == []
