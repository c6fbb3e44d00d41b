"""How a comparison of two data set versions reads in a terminal."""

from typing import Any

from llmops_cli.output import console, show_table

_SHOWN_ROWS = 10


def show_comparison(found: Any) -> None:
    """Counts of rows, changed columns, drift, the two reports, and the first changed cells."""
    diff, reports = found["result"], found["reports"]
    rows = diff["rows"]
    show_table(
        ("version", "rows", "added", "removed", "modified", "unchanged"),
        [
            (f"{found['older']['name']} {found['older']['version']}", rows["older"], None, None, None, None),
            (
                f"{found['newer']['name']} {found['newer']['version']}",
                *(rows[name] for name in ("newer", "added", "removed", "modified", "unchanged")),
            ),
        ],
    )
    if rows["olderRepeatedKeys"] or rows["newerRepeatedKeys"]:
        console.print(f"Keys that repeat: {rows['olderRepeatedKeys']} before, {rows['newerRepeatedKeys']} after.")
    drift = {each["column"]: each for each in diff["drift"]}
    show_table(
        ("column", "was", "is", "changed cells", "drift", "figure", "threshold"),
        [
            (
                column["name"], column["olderType"], column["newerType"], column["changedCells"],
                *(drift.get(column["name"], {}).get(name) for name in ("verdict", "figure", "threshold")),
            )
            for column in diff["columns"]
        ],
    )  # fmt: skip
    show_table(
        ("report", "before", "after"),
        [
            ("PII status", reports["olderPii"], reports["newerPii"]),
            *((each["type"], each["older"], each["newer"]) for each in reports["pii"]),
            ("quality", reports["olderScore"], reports["newerScore"]),
        ],
    )
    changed = [row for row in diff["sample"] if row["change"] == "modified"][:_SHOWN_ROWS]
    if changed:
        show_table(
            ("row", "column", "before", "after"),
            [
                (row["newerRow"], name, _short(row["before"][name]), _short(row["after"][name]))
                for row in changed
                for name in row["changed"]
            ],
        )


def _short(cell: Any) -> str | None:
    text = None if cell is None else str(cell)
    return text if text is None or len(text) <= 60 else f"{text[:59]}…"
