"""The schema an owner declared for a data set, and which rows keep to it (checked with pandera)."""

from typing import TYPE_CHECKING, Any

import polars as pl

from llmops_resources.checks.problems import Problems
from llmops_resources.checks.spool import BOOLEAN, INTEGER, NUMBER, ColumnType, Spool
from llmops_resources.values import Value

if TYPE_CHECKING:
    from pandera.polars import DataFrameSchema

_DATE = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"
_DATETIME = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?$"
_TEXT_FORMS = {
    ColumnType.INTEGER: INTEGER,
    ColumnType.NUMBER: NUMBER,
    ColumnType.BOOLEAN: BOOLEAN,
    ColumnType.DATE: _DATE,
    ColumnType.DATETIME: _DATETIME,
    ColumnType.LIST: r"^\[",
    ColumnType.OBJECT: r"^\{",
}
# A value of the type on the right may stand where the type on the left is expected.
_WIDER = {ColumnType.NUMBER: {ColumnType.INTEGER}, ColumnType.DATETIME: {ColumnType.DATE}}


class ExpectedColumn(Value):
    """One declared column. `required`: it must be there; `nullable`: it may have empty cells."""

    name: str
    type: ColumnType = ColumnType.STRING
    required: bool = True
    nullable: bool = False


class ExpectedSchema(Value):
    """The declared columns; columns beyond them are problems unless `allow_unknown`."""

    columns: tuple[ExpectedColumn, ...]
    allow_unknown: bool = False


def compliance(spool: Spool, expected: ExpectedSchema, problems: Problems) -> int:
    """The number of rows that keep to `expected`; what does not is added to `problems`."""
    declared = {column.name: column for column in expected.columns}
    present = {column.name: column.type for column in spool.columns}
    for name, column in declared.items():
        if name not in present and column.required:
            problems.add(
                "missing_column",
                f"The required column {name!r} is missing",
                "Add the column, or declare it as not required.",
                column=name,
            )
    unknown = [] if expected.allow_unknown else [name for name in present if name not in declared]
    for name in unknown:
        problems.add(
            "unknown_column",
            f"The column {name!r} is not in the declared schema",
            "Remove the column, correct its name, or declare it.",
            column=name,
        )
    comparable = [column for name, column in declared.items() if name in present]
    wrong_rows = 0
    for before, frame in spool.frames():
        wrong_rows += len(_check_part(before, frame, comparable, spool, problems))
    if unknown or any(column.required and name not in present for name, column in declared.items()):
        return 0
    return spool.rows - wrong_rows


def _check_part(
    before: int,
    frame: pl.DataFrame,
    columns: list[ExpectedColumn],
    spool: Spool,
    problems: Problems,
) -> set[int]:
    """The indices, within the part, of rows that break the schema."""
    from pandera.errors import SchemaErrors  # noqa: PLC0415 - about a second to import

    missing = [column.name for column in columns if column.name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
    wrong: set[int] = set()
    try:
        _pandera_schema(columns, frame).validate(frame, lazy=True)
    except SchemaErrors as errors:
        for case in errors.failure_cases.iter_rows(named=True):
            name = next((c.name for c in columns if c.name in {case["column"], case["failure_case"]}), None)
            index = case["index"]
            place = ("", None) if index is None else spool.place(before + index)
            _report(case, next((c for c in columns if c.name == name), None), place, spool, problems)
            wrong.update(range(frame.height) if case["index"] is None else [case["index"]])
    return wrong


def _pandera_schema(columns: list[ExpectedColumn], frame: pl.DataFrame) -> "DataFrameSchema":
    import pandera.polars as pa  # noqa: PLC0415

    def column(expected: ExpectedColumn) -> Any:
        spooled = frame.schema[expected.name]
        form = _TEXT_FORMS.get(expected.type, "")
        as_text = spooled == pl.String and form
        check = pa.Check.str_contains(form) if as_text else pa.Check(_type_fits(expected.type, spooled), name="type")
        return pa.Column(nullable=expected.nullable, checks=[check])

    return pa.DataFrameSchema({expected.name: column(expected) for expected in columns})


def _type_fits(expected: ColumnType, spooled: pl.DataType) -> Any:
    """A check of the whole column: its spooled type is the expected one."""
    actual = (
        ColumnType.STRING if spooled == pl.String
        else ColumnType.BOOLEAN if spooled == pl.Boolean
        else ColumnType.INTEGER if spooled.is_integer()
        else ColumnType.NUMBER if spooled.is_numeric()
        else ColumnType.DATE if spooled == pl.Date
        else ColumnType.DATETIME if spooled == pl.Datetime
        else ColumnType.NULL if spooled == pl.Null
        else ColumnType.OTHER
    )  # fmt: skip
    fits = actual in {expected, ColumnType.NULL} or actual in _WIDER.get(expected, set())
    return lambda _: fits


def _report(
    case: dict[str, Any],
    expected: ExpectedColumn | None,
    place: tuple[str, int | None],
    spool: Spool,
    problems: Problems,
) -> None:
    """Turn one of pandera's failure cases, which names a column and perhaps a row, into a problem."""
    file, row = place
    where = f" in row {row}" if row is not None else ""
    if expected is None:
        problems.add("schema", str(case["check"]), "Compare the data with the declared schema.", file=file, row=row)
    elif case["check"] == "not_nullable":
        problems.add(
            "empty_cell",
            f"{expected.name!r} is empty{where}",
            "Fill the cell in, or declare the column nullable.",
            file=file,
            row=row,
            column=expected.name,
        )
    else:
        actual = next(column.type for column in spool.columns if column.name == expected.name)
        problems.add(
            "wrong_type",
            f"{expected.name!r} should be {expected.type} and is {actual if row is None else 'something else'}{where}",
            "Correct the values, or the declared type.",
            file=file,
            row=row,
            column=expected.name,
        )
