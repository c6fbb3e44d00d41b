"""The base of every public value: frozen, closed to unknown fields, camelCase outside and snake_case inside."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Value(BaseModel):
    """An immutable value that rooms exchange and the API answers with."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
    )

    def json_dict(self) -> dict[str, Any]:
        """The value as JSON-ready data with camelCase names."""
        return self.model_dump(mode="json", by_alias=True)


def storable(data: Any) -> Any:
    """JSON-ready data as PostgreSQL can hold it: U+0000, which models do say, becomes U+FFFD."""
    if isinstance(data, str):
        return data.replace("\0", "\ufffd")
    if isinstance(data, dict):
        return {storable(name): storable(value) for name, value in data.items()}
    return [storable(value) for value in data] if isinstance(data, list) else data


def canonical_json(data: Any) -> bytes:
    """JSON with sorted keys and no spaces, so that equal data has equal bytes."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def sha256_of(data: Any) -> str:
    """`sha256:<hex>` of the canonical JSON of `data`."""
    return "sha256:" + hashlib.sha256(canonical_json(data)).hexdigest()


def utc_now() -> datetime:
    """The current time with zone UTC."""
    return datetime.now(UTC)
