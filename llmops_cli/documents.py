"""JSON and TOML that people hand over: as a file, or as name=value pairs."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmops_resources.errors import InvalidInput


def read_document(file: Path) -> Any:
    """The content of a `.json` file, or of a TOML file. Raises InvalidInput."""
    try:
        text = file.read_text(encoding="utf-8")
        return json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}", remedy="Give a TOML or JSON file.") from error


def read_object(file: Path | None) -> dict[str, Any]:
    """The object in a file; none without a file. Raises InvalidInput."""
    found = read_document(file) if file else {}
    if not isinstance(found, dict):
        raise InvalidInput(f"{file} holds no object", remedy="Give names with their values.")
    return found


def pairs(given: Sequence[str] | None) -> dict[str, Any]:
    """`name=value` pairs; a value that is JSON is taken as such, anything else as text. Raises InvalidInput."""
    found = {}
    for pair in given or []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InvalidInput(f"{pair!r} is no value", remedy="Write name=value.")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found
