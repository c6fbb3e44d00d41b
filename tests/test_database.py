"""Transactions that meet: one of them goes on, the other changes nothing and says so."""

import threading
from uuid import UUID

from sqlalchemy import text

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.errors import Unavailable
from llmops_resources.platform import Platform
from tests.factories import ADMIN, uploaded


def test_of_two_transactions_that_wait_for_each_other_one_is_told_to_try_again_and_nothing_is_half_done(
    platform: Platform,
) -> None:
    ids = [uploaded(platform, Kind.DATASET, name).id for name in ("one", "two")]
    meet, told = threading.Barrier(2, timeout=30), []

    def change(first: UUID, second: UUID, word: str) -> None:
        try:
            with platform.transaction(ADMIN) as tx:
                for at, version in enumerate((first, second)):
                    versions.load(tx, version).change_log = word
                    tx.session.flush()
                    if at == 0:
                        meet.wait()
                tx.audit("dataset.update", "dataset", first, word=word)
        except Unavailable as error:
            told.append((word, error.message, error.remedy))

    threads = [
        threading.Thread(target=change, args=(*ids, "forth")),
        threading.Thread(target=change, args=(*reversed(ids), "back")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ((loser, message, remedy),) = told
    assert message == "somebody changed the same things at the same moment"
    assert remedy == "Try again; nothing was changed."
    with platform.transaction(ADMIN) as tx:
        winner = {"forth": "back", "back": "forth"}[loser]
        assert {versions.get(tx, each).change_log for each in ids} == {winner}
        words = tx.session.scalars(text("SELECT details->>'word' FROM audit_entries WHERE action = 'dataset.update'"))
        assert list(words) == [winner]
