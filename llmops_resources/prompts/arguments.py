"""The values of a rendering: checked against the variables that the template declares."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmops_resources.prompts import tokens
from llmops_resources.prompts.content import DEFAULT_TEXT, ControlTokens, Variable, VariableType
from llmops_resources.prompts.grammar import RESERVED
from llmops_resources.prompts.problems import PromptProblem
from llmops_resources.prompts.tokens import Kept

#: Characters of all the values of one rendering together.
MAX_VALUES = 200_000
_MAX_INTEGER = 2**63
_WORDS = {
    VariableType.STRING: "a text",
    VariableType.INTEGER: "a whole number",
    VariableType.NUMBER: "a number",
    VariableType.BOOLEAN: "true or false",
    VariableType.LIST: "a list of texts, numbers or booleans",
}


def declaration_problems(variables: Sequence[Variable]) -> Iterator[PromptProblem]:
    """Names that cannot be used, and defaults that their own variable would refuse."""
    seen: set[str] = set()
    for number, variable in enumerate(variables):
        path, name = f"variables.{number}", variable.name
        if not (name.isascii() and name.isidentifier()) or name.startswith("_") or name.lower() in RESERVED:
            yield _problem(f"{path}.name", f"{name!r} is not a variable name", "Use letters, digits and _.")
        elif name in seen:
            yield _problem(f"{path}.name", f"{name} is declared twice", "Declare it once.")
        seen.add(name)
        if variable.default is not None:
            _, problem = _checked(variable, variable.default, Kept())
            if problem:
                yield _problem(f"{path}.default", problem, "Give a default that the variable accepts, or none.")


def bind(
    variables: Sequence[Variable], values: Mapping[str, Any], kept: Kept
) -> tuple[dict[str, Any], list[PromptProblem]]:
    """The names a template sees, with their values, and what is wrong with the values given.

    An optional variable without value and default is None. Tokens of values that may carry them are noted in `kept`.
    """
    names = {variable.name for variable in variables}
    known = ", ".join(sorted(names)) or "none"
    problems = [
        _problem(f"values.{name[:64]}", "the template has no such variable", f"It has: {known}.")
        for name in values
        if name not in names
    ]
    bound: dict[str, Any] = {}
    for variable in variables:
        given = values.get(variable.name, variable.default)
        given = variable.default if given is None else given
        if given is None:
            bound[variable.name] = None
            if variable.required:
                remedy = f"Give {_WORDS[variable.type]}."
                problems.append(_problem(f"values.{variable.name}", "a value is required", remedy))
            continue
        bound[variable.name], problem = _checked(variable, given, kept)
        if problem:
            problems.append(_problem(f"values.{variable.name}", problem, f"Give {_WORDS[variable.type]} without that."))
    if sum(map(_size, bound.values())) > MAX_VALUES:
        problems.append(_problem("values", f"are longer than {MAX_VALUES} characters together", "Shorten them."))
    return bound, problems


def _checked(variable: Variable, given: Any, kept: Kept) -> tuple[Any, str]:
    """The value as the template sees it, and why it is refused ("" when it is not)."""
    if variable.type is VariableType.LIST:
        return _list(variable, given, kept)
    if variable.type is VariableType.STRING:
        return _text(variable, given, variable.limit, kept) if isinstance(given, str) else (given, _not(variable))
    if variable.type is VariableType.BOOLEAN:
        return given, "" if isinstance(given, bool) else _not(variable)
    return given, "" if _is_number(given, whole=variable.type is VariableType.INTEGER) else _not(variable)


def _list(variable: Variable, given: Any, kept: Kept) -> tuple[Any, str]:
    if not isinstance(given, list | tuple):
        return given, _not(variable)
    if len(given) > variable.limit:
        return given, f"has {len(given)} items; {variable.limit} are allowed"
    items: list[Any] = []
    for number, item in enumerate(given):
        problem = ""
        if isinstance(item, str):
            item, problem = _text(variable, item, DEFAULT_TEXT, kept)  # noqa: PLW2901  the item as the template sees it
        elif not isinstance(item, bool) and not _is_number(item, whole=False):
            problem = "is neither a text nor a number nor a boolean"
        if problem:
            return given, f"item {number + 1} {problem}"
        items.append(item)
    return items, ""


def _text(variable: Variable, text: str, limit: int, kept: Kept) -> tuple[str, str]:
    if len(text) > limit:
        return text, f"has {len(text)} characters; {limit} are allowed"
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return text, "has a character that is not text"
    token = tokens.find_disguised(text)
    if token is None:
        return text, ""
    if variable.control_tokens is ControlTokens.ALLOW:
        return kept.hide(text), ""
    if variable.control_tokens is ControlTokens.NEUTRALISE:
        return tokens.neutralised(text), ""
    return text, f"carries the control token {token}"


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or (whole and not isinstance(value, int)):
        return False
    return abs(value) < _MAX_INTEGER if isinstance(value, int) else math.isfinite(value)


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(value) if isinstance(value, str) else 20


def _not(variable: Variable) -> str:
    return f"is not {_WORDS[variable.type]}"


def _problem(path: str, problem: str, remedy: str) -> PromptProblem:
    return PromptProblem(path=path, problem=problem, remedy=remedy)
