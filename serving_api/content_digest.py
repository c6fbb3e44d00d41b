"""`Content-Digest` (RFC 9530): the SHA-256 of a request's content, as the sender knows it."""

import base64
import binascii
import re

from llmops_resources.errors import InvalidInput

# A dictionary of structured fields (RFC 8941): `sha-256=:<base64>:`, beside members for other algorithms.
_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*")
_BYTES = 32


def sha256_of(header: str | None) -> str:
    """The hex SHA-256 in the header. Raises InvalidInput when there is none; other algorithms are passed over."""
    digests = [_MEMBER.fullmatch(member) for member in (header or "").split(",")]
    if header and all(digests):
        named = {match[1]: match[2] for match in digests if match is not None}  # the last of two alike counts
        try:
            raw = base64.b64decode(named.get("sha-256", ""), validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) == _BYTES:
            return raw.hex()
    raise InvalidInput(
        "the header Content-Digest is missing or has no SHA-256",
        remedy="Send `Content-Digest: sha-256=:<base64 of the chunk's SHA-256>:` (RFC 9530).",
    )
