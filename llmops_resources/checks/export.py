"""A comparison's rows for a spreadsheet."""

import csv
import io

from llmops_resources.checks.diff import Change, Diff
from llmops_resources.checks.display import in_spreadsheet


def as_csv(diff: Diff) -> str:
    """The sample: one line for an added or removed row, two for a modified one, every cell in quotes.

    No cell is a formula to a spreadsheet (`display.in_spreadsheet`); that holds for column names as well.
    """
    present = {name for row in diff.sample for name in (*(row.before or {}), *(row.after or {}))}
    names = [column.name for column in diff.columns if column.name in present]
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow([in_spreadsheet(name) for name in ("change", "side", "row", "changed columns", *names)])
    for row in diff.sample:
        sides = (("older", row.older_row, row.before), ("newer", row.newer_row, row.after))
        for side, number, cells in sides:
            if cells is not None:
                changed = ", ".join(row.changed) if row.change is Change.MODIFIED else ""
                values = (row.change.value, side, number, changed, *(cells.get(name) for name in names))
                writer.writerow([in_spreadsheet(value) for value in values])
    return out.getvalue()
