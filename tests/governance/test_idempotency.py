"""The same key and request give the same answer once; another request under that key is refused."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict
from llmops_resources.governance.idempotency import LIFETIME, once
from llmops_resources.platform import Platform


def _create(
    platform: Platform, actor: Actor, key: str, version: str = "1", fingerprint: str = "f"
) -> dict[str, object]:
    with platform.transaction(actor) as tx:
        answer: dict[str, object] = once(
            tx,
            key,
            fingerprint,
            lambda: versions.create(tx, Kind.DATASET, name="d", version=version, owner_team="t").json_dict(),
        )
    return answer


def test_a_repeat_gets_the_first_answer(platform: Platform, admin: Actor) -> None:
    assert _create(platform, admin, "k") == _create(platform, admin, "k")


def test_ten_repeats_at_once_create_one(platform: Platform, admin: Actor) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: _create(platform, admin, "k")["id"], range(10)))
    assert len(set(answers)) == 1


def test_another_request_under_the_key_is_refused(platform: Platform, admin: Actor) -> None:
    _create(platform, admin, "k")
    with pytest.raises(Conflict, match="another request"):
        _create(platform, admin, "k", version="2", fingerprint="g")


def test_a_failed_request_leaves_its_key_free(platform: Platform, admin: Actor) -> None:
    _create(platform, admin, "first")
    with pytest.raises(Conflict, match="exists already"):
        _create(platform, admin, "second")
    assert _create(platform, admin, "second", version="2")["version"] == "2"


def test_a_key_of_yesterday_is_forgotten(platform: Platform, admin: Actor) -> None:
    _create(platform, admin, "k")
    with platform.engine.begin() as connection:
        age = LIFETIME + timedelta(seconds=1)
        connection.execute(text("UPDATE idempotency_keys SET created_at = created_at - :age"), {"age": age})
    assert _create(platform, admin, "k", version="2", fingerprint="g")["version"] == "2"


def test_keys_of_two_people_do_not_meet(platform: Platform, admin: Actor) -> None:
    first = _create(platform, admin, "k")
    second = _create(platform, Actor("eve", frozenset({"admin"})), "k", version="2", fingerprint="g")
    assert first["id"] != second["id"]
