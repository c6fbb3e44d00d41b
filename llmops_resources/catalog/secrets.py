"""Secrets of catalog entries, such as a provider's API key: encrypted at rest, readable for this process alone.

AES-256-GCM (NIST SP 800-38D) with a fresh 96-bit nonce for each value. The associated data are the version, its digest
and the key's id, so that a ciphertext moved to another row, or left behind under another configuration, does not
open. A secret never leaves as part of a Value; people see its last four characters at most.
"""

import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import Select, func, select

from llmops_resources.catalog import keyring
from llmops_resources.catalog.keyring import Key, Keyring
from llmops_resources.catalog.tables import SecretRow
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.settings import Settings
from llmops_resources.values import Value, utc_now

BATCH: Final = 100
_NONCE_BYTES: Final = 12
_HINTED: Final = 12  # characters a secret must have before four of them are shown
_LOCK: Final = 7_265_003


class SecretHint(Value):
    """What may be known about a stored secret."""

    hint: str
    updated_by: str
    updated_at: datetime


def put(tx: Transaction, settings: Settings, version_id: UUID, digest: str, secret: SecretStr) -> SecretHint:
    """Store the secret of a version, in the place of an older one."""
    _share_lock(tx)
    key, nonce, text = keyring.read(settings).current, os.urandom(_NONCE_BYTES), secret.get_secret_value()
    row = tx.session.get(SecretRow, version_id, with_for_update=True)
    if row is None:
        row = SecretRow(version_id=version_id)
        tx.session.add(row)
    row.key_id, row.nonce = key.id, nonce
    row.ciphertext = key.seal(nonce, text, _bound_to(version_id, digest, key))
    row.digest, row.hint = digest, f"…{text[-4:]}" if len(text) >= _HINTED else "…"
    row.updated_by, row.updated_at = tx.actor.id, utc_now()
    tx.audit("secret.store", "secret", version_id)
    tx.session.flush()
    return _hint(row)


def hint(tx: Transaction, version_id: UUID) -> SecretHint | None:
    """What may be known about a version's secret, if it has one."""
    row = tx.session.get(SecretRow, version_id)
    return _hint(row) if row else None


def reveal(tx: Transaction, settings: Settings, version_id: UUID, digest: str) -> SecretStr | None:
    """The secret of a version with this digest, None without one; for the process that uses it, never for an answer.

    Raises Conflict when its key is not at hand, or when it was not stored for this version and digest.
    """
    _share_lock(tx)
    row = tx.session.get(SecretRow, version_id, populate_existing=True)
    return SecretStr(_open(row, keyring.read(settings), digest)) if row else None


def changed_at(tx: Transaction, version_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When the secrets of these versions were last stored; those without one are left out."""
    query = select(SecretRow.version_id, SecretRow.updated_at).where(SecretRow.version_id.in_(version_ids))
    return {row.version_id: row.updated_at for row in tx.session.execute(query)}


def erase(tx: Transaction, version_id: UUID) -> None:
    """Take a version's secret away for good."""
    if row := tx.session.get(SecretRow, version_id):
        tx.session.delete(row)
        tx.audit("secret.erase", "secret", version_id)


def rotate(transaction: Callable[[], AbstractContextManager[Transaction]], settings: Settings) -> int:
    """Encrypt every secret under the current key, in batches that each commit; how many were encrypted again.

    A home's own key is replaced by a new one first; a key of the environment was replaced by whoever set it, with the
    old one in SECRETS_KEY_PREVIOUS. Killed at any point it loses nothing, and the next call goes on where it was.
    Raises Conflict when a secret is under a key that is not at hand.
    """
    with transaction() as tx:
        _take_lock(tx)  # nobody is about to store something under the key that is being replaced
        keyring.turn(settings)
    done = 0
    while count := _rotate_batch(transaction, settings):
        done += count
    with transaction() as tx:
        _take_lock(tx)
        if not tx.session.scalar(_under_other_keys(keyring.read(settings).current).limit(1)):
            keyring.forget_previous(settings)
    return done


def _rotate_batch(transaction: Callable[[], AbstractContextManager[Transaction]], settings: Settings) -> int:
    with transaction() as tx:
        keys = keyring.read(settings)
        query = _under_other_keys(keys.current).order_by(SecretRow.version_id).limit(BATCH).with_for_update()
        rows = list(tx.session.scalars(query))
        for row in rows:
            text, nonce = _open(row, keys, row.digest), os.urandom(_NONCE_BYTES)
            bound = _bound_to(row.version_id, row.digest, keys.current)
            row.ciphertext = keys.current.seal(nonce, text, bound)
            row.key_id, row.nonce = keys.current.id, nonce
        if rows:
            tx.audit("secrets.rotate", "secret", keys.current.id, count=len(rows))
        return len(rows)


def _open(row: SecretRow, keys: Keyring, digest: str) -> str:
    key = keys.find(row.key_id)
    if key is None:
        raise Conflict(
            f"a secret is encrypted under the key {row.key_id}, which is not at hand",
            remedy="Give that key as SECRETS_KEY_PREVIOUS and run `llmops secrets rotate`, or store the secret again.",
        )
    text = key.unseal(row.nonce, row.ciphertext, _bound_to(row.version_id, digest, key))
    if text is None:
        raise Conflict(
            "a stored secret does not belong to this configuration, or was changed", remedy="Store the secret again."
        )
    return text


def _bound_to(version_id: UUID, digest: str, key: Key) -> bytes:
    return f"catalog_secrets/{version_id}/{digest}/{key.id}".encode()


def _under_other_keys(current: Key) -> Select[SecretRow]:
    return select(SecretRow).where(SecretRow.key_id != current.id)


def _share_lock(tx: Transaction) -> None:
    """No rotation begins or ends before this transaction does."""
    tx.session.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))


def _take_lock(tx: Transaction) -> None:
    tx.session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _hint(row: SecretRow) -> SecretHint:
    return SecretHint(hint=row.hint, updated_by=row.updated_by, updated_at=row.updated_at)
