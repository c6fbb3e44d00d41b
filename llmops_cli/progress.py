"""Progress bars: bytes that are uploaded, and work that somebody else does."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from llmops_cli.api import Api, Refused
from llmops_cli.output import console

WIDE = 130  # columns from which a bar and its note fit on one line
FINISHED = frozenset({"succeeded", "failed", "cancelled"})


class Bar:
    """One line: what happens, how far it is, for how long."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self.last_words = ""

    def show(self, fraction: float, note: str = "") -> None:
        """Move the bar to `fraction` (0 to 1) and change the note behind it."""
        self._progress.update(self._task, completed=fraction, note=note[:60])

    def done(self, note: str = "") -> None:
        """Fill the bar; on a narrow terminal the note gets a line of its own."""
        narrow = console.width < WIDE
        self._progress.update(self._task, completed=1.0, total=1.0, note="" if narrow else note)
        self.last_words = note if narrow else ""


@contextmanager
def bar(title: str) -> Iterator[Bar]:
    """A bar for one step; it stays on the screen when the step is over."""
    fixed = Column(no_wrap=True)
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]", table_column=fixed),
        TextColumn("{task.description}", table_column=Column(no_wrap=True, width=max(34, len(title)))),
        BarColumn(bar_width=24 if console.width >= WIDE else 10, table_column=fixed),
        TaskProgressColumn(table_column=fixed),
        TimeElapsedColumn(table_column=fixed),
        TextColumn("[dim]{task.fields[note]}[/]", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        shown = Bar(progress, progress.add_task(title, total=1.0, note=""))
        yield shown
    if shown.last_words:
        console.print(f"    [dim]{escape(shown.last_words)}[/]")


@contextmanager
def upload_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar over `total` bytes; call what it yields with the number of bytes just sent."""
    with Progress(
        TextColumn("uploading"), BarColumn(), DownloadColumn(), TimeElapsedColumn(), console=console
    ) as shown:
        task = shown.add_task("upload", total=total)
        yield lambda count: shown.update(task, advance=count)


def follow(
    api: Api, path: str, shown: Bar | None = None, *, note: Callable[[Any], str] | None = None, every: float = 0.5
) -> Any:
    """Poll a piece of work until it is finished, moving the bar if there is one; the last answer.

    Raises Refused when it failed or was cancelled.
    """
    while True:
        item = api.get(path)
        state = item["state"]
        message = (note(item) if note else "") or state["progressMessage"] or state["status"]
        if shown is not None:
            shown.show(float(state["progress"]), message)
        if state["status"] in FINISHED:
            break
        time.sleep(every)
    if state["status"] != "succeeded":
        raise Refused(409, f"it {state['status']}: {state['error'] or state['progressMessage']}", "See its logs.")
    return item
