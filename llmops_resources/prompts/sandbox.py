"""The Jinja environment templates run in, and the budget a rendering has.

Values are texts, numbers, booleans and flat lists, so a template needs no attribute, no call but `range`, and no
filter that could reach further; everything else is refused twice, in the grammar and here. A rendering is bounded by
counted work (the same on every machine) and, should that ever be too generous, by time.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import StrictUndefined, pass_context
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmops_resources.prompts.filters import FILTERS, TESTS, joined, shown

#: Names the instrumented template uses; a template's own names never begin with an underscore.
BUDGET, COUNTED, JOINED, SLICED = "_budget", "_counted", "_joined", "_sliced"
MAX_RANGE = 1_000
MAX_OUTPUT = 200_000
LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
_STEPS = 200_000
_CHARS = 2_000_000
_SECONDS = 1.0
_LARGEST = 2**63


class Budget:
    """What one rendering may still do: syntax nodes to run in loops, characters to make, characters to put out."""

    def __init__(self) -> None:
        self._steps, self._chars, self._output = _STEPS, _CHARS, MAX_OUTPUT
        self._deadline = time.monotonic() + _SECONDS

    def step(self, count: int = 1) -> None:
        """Raises SecurityError when the work or the time is used up."""
        self._steps -= count
        if self._steps < 0 or time.monotonic() > self._deadline:
            raise SecurityError("the template does too much work: make its loops shorter")

    def text(self, text: str) -> str:
        """The text, accounted for. Raises SecurityError when too much has been made."""
        self.step()
        self._chars -= len(text)
        if self._chars < 0:
            raise SecurityError(f"the template makes more than {_CHARS} characters on the way")
        return text

    def put(self, chunk: str) -> str:
        """A part of the output. Raises SecurityError when the output grows too long."""
        self._output -= len(chunk)
        if self._output < 0:
            raise SecurityError(f"the rendered prompt is longer than {MAX_OUTPUT} characters")
        return chunk


class Sandbox(ImmutableSandboxedEnvironment):
    """No loader, no globals but `range`, no filters but ours, no attributes but those of `loop`."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined, autoescape=False, optimized=False, keep_trailing_newline=True, finalize=_finalize
        )
        self.globals = {"range": bounded_range}
        self.filters = {name: _bounded(function) for name, function in FILTERS.items()}
        self.filters |= {COUNTED: _counted, JOINED: _joined, SLICED: _sliced}
        self.tests = dict(TESTS)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`loop.index` and its like, nothing else."""
        if isinstance(obj, LoopContext) and attribute in LOOP:
            return getattr(obj, attribute)
        raise SecurityError(f".{attribute} is not available: values have no attributes")

    def getitem(self, obj: Any, argument: Any) -> Any:
        """One item of a list. Never an attribute by its name."""
        if isinstance(obj, list) and isinstance(argument, int):
            try:
                return obj[argument]
            except IndexError:
                return self.undefined(f"the list has no item {argument}")
        raise SecurityError("[…] takes a whole number and works on lists only")

    def is_safe_callable(self, obj: Any) -> bool:
        """Only `range` is ever called."""
        return obj is bounded_range

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers of ordinary size: texts are not multiplied and not formatted."""
        if not isinstance(left, int | float) or not isinstance(right, int | float) or operator == "**":
            raise SecurityError(f"{operator} works on numbers only; ~ joins texts")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and abs(result) >= _LARGEST:
            raise SecurityError("a number becomes too large")
        return result


def bounded_range(*limits: int) -> list[int]:
    """`range`, as a list of at most MAX_RANGE numbers. Raises SecurityError beyond that."""
    numbers = range(*limits)
    if not all(abs(limit) < _LARGEST for limit in limits) or len(numbers) > MAX_RANGE:
        raise SecurityError(f"range is limited to {MAX_RANGE} numbers")
    return list(numbers)


def _budget(context: Context) -> Budget:
    budget: Budget = context.parent[BUDGET]
    return budget


@pass_context
def _finalize(context: Context, value: Any) -> str:
    return _budget(context).text(shown(value))


@pass_context
def _joined(context: Context, *parts: Any) -> str:
    return _budget(context).text(joined([shown(part) for part in parts]))


@pass_context
def _sliced(context: Context, value: Any, start: int | None, stop: int | None, step: int | None) -> Any:
    if not isinstance(value, list | str):
        raise TemplateRuntimeError("only a list or a text can be sliced")
    part = value[start:stop:step]
    return _budget(context).text(part) if isinstance(part, str) else part


@pass_context
def _counted(context: Context, items: Any, weight: int) -> Iterator[Any]:
    """The items of a loop, each charged with the work its turn may do; nothing for an optional list not given."""
    if items is not None and not isinstance(items, list):
        raise TemplateRuntimeError("a loop goes over a list or a range")
    budget = _budget(context)
    for item in items or []:
        budget.step(weight)
        yield item


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    def filtered(context: Context, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        budget.step()
        made = function(*args, **kwargs)
        return budget.text(made) if isinstance(made, str) else made

    return filtered
