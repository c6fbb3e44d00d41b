"""What people see: tables, errors with their remedy, and JSON for programs."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

ID_WIDTH = 36  # of a UUID
WIDEST = 10_000
COLORS = {
    "healthy": "green", "approved": "green", "succeeded": "green", "clean": "green",
    "running": "cyan", "starting": "cyan", "deploying": "cyan", "under_review": "cyan", "queued": "yellow",
    "waiting": "yellow", "pending": "yellow", "degraded": "yellow", "restarting": "yellow", "draft": "yellow",
    "unhealthy": "red", "failed": "red", "rejected": "red", "cancelled": "red",
}  # fmt: skip


def show_error(message: str, remedy: str, details: Iterable[Mapping[str, Any]] = ()) -> None:
    """Print what is wrong and what to do about it on stderr."""
    errors.print(f"[bold red]✗[/] {escape(message)}")
    for detail in details:
        errors.print(
            f"  [bold]{escape(str(detail.get('path', '')))}[/] {escape(str(detail.get('problem', '')))}"
            f" [dim]{escape(str(detail.get('remedy', '')))}[/]"
        )
    if remedy:
        errors.print(f"[bold]→[/] {escape(remedy)}")


def show_json(data: Any) -> None:
    """Print data for programs: plain JSON, no colours, no wrapping."""
    console.print_json(json.dumps(data, default=str)) if console.is_terminal else print(json.dumps(data, default=str))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; states get their colour. An id is never cut, since people copy it; in a pipe nothing is."""
    table = Table(box=None, header_style="bold")
    for heading in headings:
        whole = heading == "id" or heading.endswith("Id")
        table.add_column(heading, no_wrap=whole, min_width=ID_WIDTH if whole else None)
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    if console.is_terminal:
        console.print(table)
        return
    whole_table = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    Console(highlight=False, width=whole_table).print(table)


def cell(value: Any) -> str:
    """One table cell as rich markup."""
    if value is None:
        return "[dim]–[/]"
    text = escape(str(value))
    color = COLORS.get(str(value))
    return f"[{color}]{text}[/]" if color else text


def ago(started_at: float | None) -> str | None:
    """`1h02m`, `3m20s`, `12s` since a Unix time."""
    if started_at is None:
        return None
    seconds = max(0, int(time.time() - started_at))
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{seconds % 60:02d}s" if minutes else f"{seconds}s"
