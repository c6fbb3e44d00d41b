"""Conditions on experiments: `param.learning_rate<=0.001 and metric.eval_loss<2`, read into typed values.

Nothing of the text reaches the database but values: names are looked up in the recipe, operators in a table.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterator
from enum import Enum
from operator import eq, ge, gt, le, lt, ne
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

from pydantic.alias_generators import to_camel
from sqlalchemy import ColumnElement, and_, exists, func, literal
from sqlalchemy.dialects.postgresql import JSONB

from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.training.recipe import Recipe
from llmops_resources.training.tables import JobRow, SeriesRow
from llmops_resources.values import Value

MOST: Final = 20  # conditions at once
LONGEST: Final = 2_000  # characters of all of them
Operator = Literal["<=", ">=", "!=", "=", "<", ">"]
Kind = Literal["number", "boolean", "text", "group"]

_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {"<=": le, ">=": ge, "!=": ne, "=": eq, "<": lt, ">": gt}
_CONDITION: Final = re.compile(
    r"(?P<of>param|metric)\.(?P<name>[A-Za-z0-9_./-]{1,64})\s{0,9}(?P<operator><=|>=|!=|=|<|>)\s{0,9}"
    r'(?:"(?P<quoted>[^"]{0,200})"|(?P<bare>[^\s,"<>=!]{1,200}))'
)
_BETWEEN: Final = re.compile(r"\s*(?:,|\s[aA][nN][dD]\s)\s*")
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_EXAMPLE: Final = (
    "Write param.<name> or metric.<name>, one of = != < <= > >=, and a value: param.epochs>=2, metric.loss<2."
)


class Condition(Value):
    """One condition. `name` is a metric's, or a recipe's dotted one in camelCase; the value None means not set."""

    of: Literal["param", "metric"]
    name: str
    operator: Operator
    value: float | bool | str | None


def parse(text: str) -> tuple[Condition, ...]:
    """The conditions of a text, with commas or `and` between them; an empty one has none.

    A value with spaces or commas is written in double quotes; `none` stands for a parameter that is not set.
    Raises ValidationFailed that says which condition is wrong, and what would be right.
    """
    text = text.strip()
    if len(text) > LONGEST:
        raise _wrong(f"has {len(text)} characters", f"Use at most {LONGEST:,}.")
    found: list[Condition] = []
    at = 0
    while at < len(text):
        match = _CONDITION.match(text, at)
        if match is None:
            raise _wrong(f"{text[at : at + 60]!r} is no condition", _EXAMPLE)
        found.append(_typed(match))
        at = match.end()
        if at < len(text):
            gap = _BETWEEN.match(text, at)
            if gap is None or gap.end() == len(text):
                raise _wrong(f"{text[at : at + 60]!r} follows a condition", "Put a comma or `and` between two.")
            at = gap.end()
    if len(found) > MOST:
        raise _wrong(f"has {len(found)} conditions", f"Use at most {MOST}.")
    return tuple(found)


def clause(condition: Condition) -> ColumnElement[bool]:
    """The condition on a job's row. A metric counts by its last value; what was never recorded matches nothing."""
    compare = _COMPARE[condition.operator]
    if condition.of == "metric":
        return exists().where(
            SeriesRow.job_id == JobRow.id,
            SeriesRow.name == condition.name,
            compare(SeriesRow.last_value, condition.value),
        )
    held = JobRow.recipe[tuple(condition.name.split("."))]
    kind = func.coalesce(func.jsonb_typeof(held), "null")
    if condition.value is None:
        return cast("ColumnElement[bool]", compare(kind, "null"))
    # JSON numbers compare as exact decimals, so 0.001 is 0.001; other types than the value's never match.
    wanted = {float: "number", bool: "boolean", str: "string"}[type(condition.value)]
    return and_(kind == wanted, compare(held, literal(condition.value, JSONB)))


def parameters() -> dict[str, Kind]:
    """Every parameter of a recipe that can be asked for, by its dotted name in camelCase."""
    return dict(_parameters(Recipe, ""))


def _typed(match: re.Match[str]) -> Condition:
    operator = cast("Operator", match["operator"])
    quoted, bare = match["quoted"], match["bare"]
    written = bare if quoted is None else quoted
    if match["of"] == "metric":
        name = match["name"]
        return Condition(of="metric", name=name, operator=operator, value=_number(f"metric.{name}", written))
    known = parameters()
    name = ".".join(to_camel(part) if "_" in part else part for part in match["name"].split("."))
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        remedy = f"Did you mean param.{close[0]}?" if close else f"There are: {', '.join(known)}."
        raise _wrong(f"param.{match['name']} is no parameter of a recipe", remedy)
    shown, kind = f"param.{name}", known[name]
    if quoted is None and written.lower() == "none":
        return Condition(of="param", name=name, operator=_equality(shown, operator), value=None)
    if kind == "number":
        return Condition(of="param", name=name, operator=operator, value=_number(shown, written))
    _equality(shown, operator)
    if kind == "group":
        inner = ", ".join(f"param.{each}" for each in known if each.startswith(f"{name}."))
        raise _wrong(f"{shown} holds several parameters", f"Compare it with none, or ask for one of {inner}.")
    if kind == "boolean":
        if written.lower() not in {"true", "false"}:
            raise _wrong(f"{shown} is true or false, not {written[:40]!r}", "Write true or false.")
        return Condition(of="param", name=name, operator=operator, value=written.lower() == "true")
    if "\0" in written:
        raise _wrong(f"the value of {shown} has a NUL character", "Leave it out.")
    return Condition(of="param", name=name, operator=operator, value=written)


def _number(shown: str, written: str) -> float:
    value = float(written) if _NUMBER.fullmatch(written) else math.nan
    if not math.isfinite(value):
        raise _wrong(f"{shown} is a number, and {written[:40]!r} is none", "Write one such as 0.001 or 1e-3.")
    return value


def _equality(shown: str, operator: Operator) -> Operator:
    if operator not in {"=", "!="}:
        raise _wrong(f"{shown} cannot be compared with {operator}", "Use = or !=.")
    return operator


def _parameters(model: type[Value], prefix: str) -> Iterator[tuple[str, Kind]]:
    for field, info in model.model_fields.items():
        name = f"{prefix}{to_camel(field)}"
        plain = _plain(info.annotation)
        if isinstance(plain, type) and issubclass(plain, Value):
            yield name, "group"
            yield from _parameters(plain, f"{name}.")
        elif plain is bool:
            yield name, "boolean"
        elif plain in {int, float}:
            yield name, "number"
        elif isinstance(plain, type) and issubclass(plain, str | Enum):
            yield name, "text"


def _plain(annotation: Any) -> Any:
    """The type behind `Annotated` and `| None`; of a union of several the first, all of which are numbers here."""
    while get_origin(annotation) in {Annotated, Union, UnionType}:
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _wrong(problem: str, remedy: str) -> ValidationFailed:
    return ValidationFailed("the conditions are not valid", details=[field_problem("where", problem, remedy)])
