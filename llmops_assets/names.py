"""Names of ours where Dagster wants identifiers, and links where people want pages."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import dagster as dg

from llmops_resources.platform import Platform

_BARS = "▁▂▃▄▅▆▇█"


def identifier(*parts: str) -> str:
    """A Dagster identifier for catalog names, different for different names: `-` and `_` stay apart."""
    return "_0_".join(part.replace("_", "__").replace("-", "_1") for part in parts)


def upstream_ins(upstream: Sequence[tuple[str, ...]]) -> dict[str, dg.AssetIn]:
    """Order-only inputs. They are numbered, because two asset keys can share the identifier Dagster would make."""
    return {
        f"upstream_{number}": dg.AssetIn(key=dg.AssetKey(list(key)), dagster_type=dg.Nothing)
        for number, key in enumerate(upstream)
    }


def console_link(platform: Platform, room: str, entry: UUID | str) -> dg.UrlMetadataValue:
    """The page of an entry in our console."""
    return dg.MetadataValue.url(f"{platform.settings.console_url}/{room}/{entry}")


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """A curve in one line of text; values are averaged into at most `width` columns."""
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    columns = [sum(values[i : i + size]) / len(values[i : i + size]) for i in range(0, len(values), size)]
    low, high = min(columns), max(columns)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in columns)


def markdown_table(rows: Mapping[str, object]) -> dg.MarkdownMetadataValue:
    """Two columns: name and value."""
    lines = ["| | |", "|---|---|"] + [f"| {name} | {value} |" for name, value in rows.items()]
    return dg.MetadataValue.md("\n".join(lines))
