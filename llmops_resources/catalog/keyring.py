"""The keys that encrypt secrets: the current one, and during a rotation the one before.

A key comes from SECRETS_KEY, from the file SECRETS_KEY_FILE (a mounted secret), or is made once and kept in the home.
It is read anew each time, so that a rotation in another process is seen at once.
"""

import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from llmops_resources.errors import InvalidInput
from llmops_resources.settings import Settings

SHORTEST: Final = 32


@dataclass(frozen=True)
class Key:
    """256 bits for AES, and the name by which stored values say that they need them."""

    id: str
    material: bytes = field(repr=False)

    def seal(self, nonce: bytes, text: str, bound_to: bytes) -> bytes:
        """As `sealing.seal`."""
        from llmops_resources.catalog import sealing  # noqa: PLC0415  as it says

        return sealing.seal(self.material, nonce, text, bound_to)

    def unseal(self, nonce: bytes, ciphertext: bytes, bound_to: bytes) -> str | None:
        """As `sealing.unseal`."""
        from llmops_resources.catalog import sealing  # noqa: PLC0415

        return sealing.unseal(self.material, nonce, ciphertext, bound_to)


@dataclass(frozen=True)
class Keyring:
    """What encrypts, and everything that decrypts."""

    current: Key
    previous: Key | None = None

    def find(self, key_id: str) -> Key | None:
        """The key with this id, if we have it."""
        return next((key for key in (self.current, self.previous) if key is not None and key.id == key_id), None)


def read(settings: Settings) -> Keyring:
    """The keys as they are now. Raises InvalidInput for a key that is too short or a file that cannot be read."""
    previous = _derive(settings.secrets_key_previous, "SECRETS_KEY_PREVIOUS") if settings.secrets_key_previous else None
    if settings.secrets_key is not None:
        return Keyring(_derive(settings.secrets_key, "SECRETS_KEY"), previous)
    if settings.secrets_key_file is not None:
        return Keyring(_derive(_text(settings.secrets_key_file), "SECRETS_KEY_FILE"), previous)
    path = _home_key(settings)
    if not path.exists():
        _write(fresh := _beside(path, "new"))
        with suppress(FileExistsError):  # another process was first; then theirs counts
            os.link(fresh, path)
        fresh.unlink()
    # In this order: a rotation moves the current key to `previous` before it puts the new one in its place.
    current, before = _derive(_text(path), str(path)), path.with_suffix(".previous")
    if before.exists():
        previous = _derive(_text(before), str(before))
    return Keyring(current, previous)


def turn(settings: Settings) -> None:
    """Begin a rotation of the home's key: the current key becomes the previous one, a new one takes its place.

    Does nothing when the keys come from the environment, or when the last rotation has not ended. Safe to kill.
    """
    if settings.secrets_key is not None or settings.secrets_key_file is not None:
        return
    keys, path = read(settings), _home_key(settings)
    if keys.previous is not None and keys.previous != keys.current:
        return
    _write(fresh := _beside(path, "next"))
    with suppress(FileExistsError):  # a rotation was killed after this line and before the next
        os.link(path, path.with_suffix(".previous"))
    fresh.replace(path)
    _sync(path.parent)


def forget_previous(settings: Settings) -> None:
    """End a rotation: nothing needs the home's previous key any more, nor what a killed rotation left."""
    path = _home_key(settings)
    for left in (path.with_suffix(".previous"), *path.parent.glob(f"{path.stem}.next.*")):
        left.unlink(missing_ok=True)


def _home_key(settings: Settings) -> Path:
    return settings.home / "secrets.key"


def _beside(path: Path, purpose: str) -> Path:
    return path.with_suffix(f".{purpose}.{os.getpid()}.{secrets.token_hex(4)}")


def _write(path: Path) -> None:
    """A new random key in a new file of mode 0600, on the disk before anything is encrypted with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput(f"the key file {path} cannot be read: {reason}", remedy="Check its path and mode.") from None


def _derive(text: str, where: str) -> Key:
    if len(text) < SHORTEST:
        raise InvalidInput(f"{where} is too short", remedy=f"Use at least {SHORTEST} random characters.")
    from llmops_resources.catalog import sealing  # noqa: PLC0415  as it says

    material = sealing.derive(text)
    return Key(hashlib.sha256(b"llmops secrets, the key's name" + material).hexdigest()[:16], material)
