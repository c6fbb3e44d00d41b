"""Secrets at rest: encrypted, bound to their row, rotated without loss, and never in what leaves the platform."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import literal_column, select, text
from sqlalchemy import table as table_named

from llmops_resources.catalog import keyring, providers, secrets
from llmops_resources.catalog.keyring import Keyring
from llmops_resources.catalog.providers import Provider, ProviderConfig
from llmops_resources.catalog.versions import Version
from llmops_resources.errors import Conflict, InvalidInput
from llmops_resources.governance import audit
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests import factories
from tests.providers.conftest import KEY

OLD, NEW = "the first key, of thirty-two letters", "the second key, of thirty-two letters"


def external(platform: Platform, name: str = "gpt", key: str | None = KEY) -> Version:
    """A draft of an external model."""
    config = ProviderConfig(provider=Provider.OPENAI, endpoint="https://api.example.com/v1", model_name="gpt-tiny")
    with platform.transaction(factories.ADMIN) as tx:
        return providers.register(
            tx, platform.settings, name=name, version="1", owner_team="t", metadata=factories.CARD, config=config,
            api_key=SecretStr(key) if key else None,
        )  # fmt: skip


def revealed(platform: Platform, version: Version, settings: Settings | None = None) -> str | None:
    with platform.transaction(factories.ADMIN) as tx:
        found = secrets.reveal(tx, settings or platform.settings, version.id, version.digest or "")
    return found.get_secret_value() if found else None


def rotated(platform: Platform, settings: Settings | None = None) -> int:
    return secrets.rotate(lambda: platform.transaction(factories.ADMIN), settings or platform.settings)


def rows(platform: Platform) -> list[dict[str, object]]:
    with platform.engine.connect() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM catalog_secrets")).mappings()]


def test_a_secret_comes_back_and_nothing_of_it_is_in_the_database(platform: Platform) -> None:
    version = external(platform)
    assert revealed(platform, version) == KEY
    with platform.engine.connect() as connection:
        tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
        for table in list(tables):
            content = str(connection.execute(select(literal_column("*")).select_from(table_named(table))).all())
            assert KEY not in content
            assert KEY[:12] not in content
    (row,) = rows(platform)
    assert row["hint"] == "…WXYZ"
    assert KEY.encode() not in bytes(row["ciphertext"])  # type: ignore[call-overload]


@pytest.mark.parametrize("key", ["short", "elevenchars"])
def test_a_short_key_has_no_hint_that_gives_much_of_it_away(platform: Platform, key: str) -> None:
    external(platform, key=key)
    assert rows(platform)[0]["hint"] == "…"


def test_equal_secrets_have_different_ciphertexts_and_nonces(platform: Platform) -> None:
    external(platform, "a")
    external(platform, "b")
    first, second = rows(platform)
    assert first["nonce"] != second["nonce"]
    assert first["ciphertext"] != second["ciphertext"]


@given(st.integers(0, 44), st.integers(1, 255))
def test_every_flipped_bit_of_a_ciphertext_is_noticed(position: int, flip: int) -> None:
    row, keys = _sealed()
    changed = bytearray(row.ciphertext)
    changed[position % len(changed)] ^= flip
    row.ciphertext = bytes(changed)
    with pytest.raises(Conflict):
        secrets._open(row, keys, "sha256:d")


def _sealed() -> tuple[secrets.SecretRow, Keyring]:
    key = keyring._derive(OLD, "a test")
    row = secrets.SecretRow(version_id=UUID(int=1), digest="sha256:d", key_id=key.id, nonce=b"n" * 12)
    bound = secrets._bound_to(row.version_id, "sha256:d", key)
    row.ciphertext = key.seal(row.nonce, KEY, bound)
    return row, Keyring(key)


def test_a_secret_moved_to_another_version_or_configuration_does_not_open(platform: Platform) -> None:
    first, second = external(platform, "a"), external(platform, "b", key="another key altogether")
    with platform.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE catalog_secrets SET nonce = o.nonce, ciphertext = o.ciphertext FROM catalog_secrets o"
                " WHERE catalog_secrets.version_id = :second AND o.version_id = :first"
            ),
            {"first": first.id, "second": second.id},
        )
    with pytest.raises(Conflict, match="does not belong"):
        revealed(platform, second)
    with platform.transaction(factories.ADMIN) as tx, pytest.raises(Conflict, match="does not belong"):
        secrets.reveal(tx, platform.settings, first.id, "sha256:another-endpoint")


def test_a_configuration_changed_behind_our_back_is_refused(platform: Platform) -> None:
    version = external(platform)
    with platform.engine.begin() as connection:
        connection.execute(
            text("UPDATE catalog_versions SET card = jsonb_set(card, '{provider,endpoint}', '\"https://evil.example\"')")
        )
    with platform.transaction(factories.ADMIN) as tx, pytest.raises(Conflict, match="not the one it was made with"):
        providers.connect(tx, platform.settings, providers.versions.get(tx, version.id))


def test_the_homes_key_is_made_once_and_readable_by_its_owner_alone(platform: Platform) -> None:
    first = keyring.read(platform.settings)
    assert keyring.read(platform.settings) == first
    assert (platform.settings.home / "secrets.key").stat().st_mode & 0o777 == 0o600
    assert first.current.material.hex() not in repr(first)
    assert str(first.current.material) not in repr(first)


def test_a_key_comes_from_the_environment_or_a_mounted_file(platform: Platform, tmp_path: Path) -> None:
    mounted = tmp_path / "key"
    mounted.write_text(OLD + "\n")
    by_file = platform.settings.model_copy(update={"secrets_key_file": mounted})
    by_name = platform.settings.model_copy(update={"secrets_key": OLD})
    assert keyring.read(by_file) == keyring.read(by_name)
    assert OLD not in repr(by_name)
    with pytest.raises(InvalidInput, match="cannot be read"):
        keyring.read(platform.settings.model_copy(update={"secrets_key_file": tmp_path / "nothing"}))
    with pytest.raises(InvalidInput, match="too short") as refused:
        keyring.read(platform.settings.model_copy(update={"secrets_key": "short"}))
    assert "short" not in refused.value.remedy


def test_rotation_of_the_homes_key_changes_every_ciphertext_and_loses_nothing(platform: Platform) -> None:
    versions = [external(platform, f"m{number}") for number in range(3)]
    before, old = rows(platform), (platform.settings.home / "secrets.key").read_text()
    assert rotated(platform) == 3
    assert (platform.settings.home / "secrets.key").read_text() != old
    assert not list(platform.settings.home.glob("secrets.previous*"))
    assert {row["key_id"] for row in rows(platform)}.isdisjoint({row["key_id"] for row in before})
    assert [revealed(platform, version) for version in versions] == [KEY] * 3
    with platform.transaction(factories.ADMIN) as tx:
        (entry,) = audit.search(tx, action="secrets.rotate")
    assert entry.metadata == {"count": 3}


def test_rotation_of_an_environments_key_needs_the_key_before(platform: Platform) -> None:
    with_old = platform.settings.model_copy(update={"secrets_key": OLD})
    with_new = platform.settings.model_copy(update={"secrets_key": NEW})
    both = with_new.model_copy(update={"secrets_key_previous": OLD})
    version = external(platform)
    object.__setattr__(platform, "settings", with_old)
    with platform.transaction(factories.ADMIN) as tx:
        secrets.put(tx, with_old, version.id, version.digest or "", SecretStr(KEY))
    with pytest.raises(Conflict, match="not at hand"):
        rotated(platform, with_new)
    assert revealed(platform, version, both) == KEY
    assert rotated(platform, both) == 1
    assert rotated(platform, both) == 0
    assert revealed(platform, version, with_new) == KEY
    with pytest.raises(Conflict, match="not at hand"):
        revealed(platform, version, with_old)


@pytest.mark.parametrize("step", ["after the old key was kept", "after the new key was put", "after some secrets"])
def test_a_rotation_that_was_interrupted_is_finished_by_the_next(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    versions = [external(platform, f"m{number}") for number in range(5)]
    first = rows(platform)[0]["key_id"]
    monkeypatch.setattr(secrets, "BATCH", 2)
    home = platform.settings.home
    if step == "after the old key was kept":
        os.link(home / "secrets.key", home / "secrets.previous")
    if step == "after the new key was put":
        keyring.turn(platform.settings)
    if step == "after some secrets":
        keyring.turn(platform.settings)
        assert secrets._rotate_batch(lambda: platform.transaction(factories.ADMIN), platform.settings) == 2
    assert [revealed(platform, version) for version in versions] == [KEY] * 5
    rotated(platform)
    assert [revealed(platform, version) for version in versions] == [KEY] * 5
    assert first not in {row["key_id"] for row in rows(platform)}
    assert sorted(path.name for path in home.glob("secrets.*")) == ["secrets.key"]


_ROTATE = """
import sys
from llmops_resources.catalog import secrets
from llmops_resources.database import Actor
from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
secrets.BATCH = 1
settings = Settings(llmops_home=sys.argv[1], database_url=sys.argv[2], _env_file=None)
with open_platform(settings) as platform:
    print("begins", flush=True)
    for _ in range(50):
        secrets.rotate(lambda: platform.transaction(Actor("system:test")), settings)
"""


def test_killing_a_rotation_at_any_moment_loses_no_secret(platform: Platform) -> None:
    versions = [external(platform, f"m{number}") for number in range(4)]
    arguments = [str(platform.settings.home), str(platform.settings.database_url)]
    for pause in (0.0, 0.03, 0.07):
        process = subprocess.Popen([sys.executable, "-c", _ROTATE, *arguments], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begins\n"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert [revealed(platform, version) for version in versions] == [KEY] * 4
    rotated(platform)
    assert [revealed(platform, version) for version in versions] == [KEY] * 4
    assert sorted(path.name for path in platform.settings.home.glob("secrets.*")) == ["secrets.key"]
