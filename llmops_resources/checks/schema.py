"""The schema an owner declared for a data set, and which rows keep to it (checked with pandera)."""

from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

import polars as pl
from pydantic import model_validator

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
_REMEDIES = {
    ColumnType.INTEGER: "Write whole numbers such as 42, or declare another type.",
    ColumnType.NUMBER: "Write numbers such as 42 or 1.5, with a point, or declare another type.",
    ColumnType.BOOLEAN: "Write true or false, or declare another type.",
    ColumnType.DATE: "Write dates as 2026-01-31, or declare another type.",
    ColumnType.DATETIME: "Write times as 2026-01-31T09:30:00Z, or declare another type.",
    ColumnType.LIST: "Write a JSON array such as [1, 2], or declare another type.",
    ColumnType.OBJECT: 'Write a JSON object such as {"a": 1}, or declare another type.',
    ColumnType.STRING: "Write texts, in quotes where the format has them, or declare another type.",
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
    """The declared columns, each once; columns beyond them are problems unless `allow_unknown`."""

    columns: tuple[ExpectedColumn, ...]
    allow_unknown: bool = False

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        doubled = [name for name, count in Counter(column.name for column in self.columns).items() if count > 1]
        if doubled:
            raise ValueError(f"the column {doubled[0]!r} is declared more than once")
        return self


def compliance(spool: Spool, expected: ExpectedSchema, problems: Problems, *, typed: bool) -> int:
    """The number of rows that keep to `expected`; what does not is added to `problems`.

    `typed`: the files say what type a value has (JSON lines, Parquet), so that "1" is a text and no number. In CSV
    every cell is text, and has the types that it reads as.
    """
    declared = {column.name: column for column in expected.columns}
    present = {column.name: column.type for column in spool.columns}
    for name, column in declared.items():
        if name not in present and column.required:
            problems.add(
                "missing_column",
                f"The required column {name!r} of type {column.type} is missing",
                "Add the column, or declare it as not required.",
                column=name,
            )
    unknown = [] if expected.allow_unknown else [name for name in present if name not in declared]
    absent = [name for name in declared if name not in present]
    for name in unknown:
        near = get_close_matches(name, absent, n=1)
        problems.add(
            "unknown_column",
            f"The column {name!r} is not in the declared schema",
            f"Rename it to {near[0]!r}, or declare it." if near else "Remove the column, or declare it.",
            column=name,
        )
    comparable = [column for name, column in declared.items() if name in present]
    wrong_rows = 0
    for before, frame in spool.frames():
        wrong_rows += len(_check_part(before, frame, comparable, spool, problems, typed=typed))
    if unknown or any(column.required and name not in present for name, column in declared.items()):
        return 0
    return spool.rows - wrong_rows


def _check_part(
    before: int,
    frame: pl.DataFrame,
    columns: list[ExpectedColumn],
    spool: Spool,
    problems: Problems,
    *,
    typed: bool,
) -> set[int]:
    """The indices, within the part, of rows that break the schema."""
    from pandera.errors import SchemaErrors  # noqa: PLC0415 - about a second to import

    missing = [column.name for column in columns if column.name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
    wrong: set[int] = set()
    try:
        _pandera_schema(columns, frame, spool, typed=typed).validate(frame, lazy=True)
    except SchemaErrors as errors:
        for case in errors.failure_cases.iter_rows(named=True):
            name = next((c.name for c in columns if c.name in {case["column"], case["failure_case"]}), None)
            index = case["index"]
            place = ("", None) if index is None else spool.place(before + index)
            _report(case, next((c for c in columns if c.name == name), None), place, spool, problems)
            wrong.update(range(frame.height) if case["index"] is None else [case["index"]])
    return wrong


def _pandera_schema(
    columns: list[ExpectedColumn], frame: pl.DataFrame, spool: Spool, *, typed: bool
) -> "DataFrameSchema":
    import pandera.polars as pa  # noqa: PLC0415

    kinds = {column.name: column.type for column in spool.columns}

    def column(expected: ExpectedColumn) -> Any:
        is_text = frame.schema[expected.name] == pl.String
        fits = _fits(expected.type, kinds[expected.name], typed=typed or not is_text)
        if fits is None:
            check = pa.Check(lambda data: data.lazyframe.select(_reads_as(expected.type, data.key)), name="form")
        else:
            check = pa.Check(lambda _: fits, name="type")
        return pa.Column(nullable=expected.nullable, checks=[check])

    return pa.DataFrameSchema({expected.name: column(expected) for expected in columns})


def _fits(expected: ColumnType, actual: ColumnType, *, typed: bool) -> bool | None:
    """Whether a column of a type may stand for the expected one; None when each of its texts has to be read."""
    if actual is ColumnType.NULL or (typed and (actual is expected or actual in _WIDER.get(expected, set()))):
        return True
    if not typed:
        return None if expected in _TEXT_FORMS else True
    dates_as_text = actual is ColumnType.STRING and expected in {ColumnType.DATE, ColumnType.DATETIME}
    # JSON lines hold 1 and 2.5 in one column of numbers, as text here: which of them are whole is told row by row.
    return None if dates_as_text or (expected, actual) == (ColumnType.INTEGER, ColumnType.NUMBER) else False


def _reads_as(expected: ColumnType, name: str) -> pl.Expr:
    """Whether each text of a column is a value of the type; dates must be in the calendar."""
    text = pl.col(name).cast(pl.String)
    formed = text.str.contains(_TEXT_FORMS[expected])
    if expected in {ColumnType.DATE, ColumnType.DATETIME}:
        formed = formed & text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).is_not_null()
    return formed.fill_null(value=True)


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
            f"{expected.name!r} should be {expected.type} and is {actual}" if row is None
            else f"{expected.name!r} does not read as {expected.type}{where}",
            _REMEDIES.get(expected.type, "Correct the values, or the declared type."),
            file=file,
            row=row,
            column=expected.name,
        )  # fmt: skip
