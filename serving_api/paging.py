"""Cursors: where the last page ended, signed, since a cursor is input like any other."""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from uuid import UUID

import orjson
from fastapi import Response

from llmops_resources.errors import InvalidInput
from llmops_resources.pages import Item, Page, Position

_TAG_BYTES = 12


def encode(position: Position, signing_key: bytes) -> str:
    """An opaque cursor for the position after which the next page starts."""
    body = orjson.dumps([position[0].isoformat(), str(position[1])])
    return base64.urlsafe_b64encode(_tag(body, signing_key) + body).decode().rstrip("=")


def decode(cursor: str | None, signing_key: bytes) -> Position | None:
    """The position behind a cursor. Raises InvalidInput for one that we did not make."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not hmac.compare_digest(tag, _tag(body, signing_key)):
            raise ValueError
        at, identifier = orjson.loads(body)
        return datetime.fromisoformat(at), UUID(identifier)
    except (ValueError, binascii.Error, TypeError):
        raise InvalidInput(
            "the cursor is not one of ours", remedy="Leave it out to start at the first page."
        ) from None


def send(response: Response, page: Page[Item], signing_key: bytes) -> list[Item]:
    """The page's entries, after setting the headers that say how many there are and where to go on."""
    response.headers["X-Total-Count"] = str(page.total)
    if page.next is not None:
        response.headers["X-Next-Cursor"] = encode(page.next, signing_key)
    return page.items


def _tag(body: bytes, signing_key: bytes) -> bytes:
    return hmac.new(signing_key, b"cursor" + body, hashlib.sha256).digest()[:_TAG_BYTES]
