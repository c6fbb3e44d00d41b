"""The cryptography of secrets: AES-256-GCM (NIST SP 800-38D) under keys derived with HKDF-SHA256 (RFC 5869).

A module of its own, imported where a secret is sealed or opened: the library takes 8 MB of every process that has it,
and most never see a secret.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive(text: str) -> bytes:
    """256 bits for AES from a key as it was given."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"llmops secrets").derive(text.encode())


def seal(material: bytes, nonce: bytes, text: str, bound_to: bytes) -> bytes:
    """The ciphertext, with its tag; `nonce` is 96 bits and never used twice, `bound_to` the associated data."""
    return AESGCM(material).encrypt(nonce, text.encode(), bound_to)


def unseal(material: bytes, nonce: bytes, ciphertext: bytes, bound_to: bytes) -> str | None:
    """What was sealed; None when it was not sealed by this key and bound to this."""
    try:
        return AESGCM(material).decrypt(nonce, ciphertext, bound_to).decode()
    except InvalidTag:
        return None
