"""What a template may be made of: a table of syntax, and why everything else is refused.

`refusals` walks a parsed template without recursion; `instrumented` then rewrites an accepted one so that every turn
of a loop and every joining of texts is charged to the rendering's budget.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from llmops_resources.prompts import tokens
from llmops_resources.prompts.filters import FILTERS, TESTS
from llmops_resources.prompts.sandbox import COUNTED, JOINED, LOOP, MAX_RANGE, SLICED

MAX_DEPTH = 40
MAX_NODES = 5_000
RESERVED = frozenset({"loop", "range", "self", "super", "caller", "varargs", "kwargs", "true", "false", "none"})
_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.Assign,
    nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Mul,
    nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat, nodes.Filter, nodes.Test, nodes.Getattr,
    nodes.Getitem, nodes.Slice, nodes.List, nodes.Tuple, nodes.Call, nodes.Keyword,
)  # fmt: skip
_NAMES: dict[type[nodes.Node], str] = {
    nodes.Macro: "a macro", nodes.CallBlock: "a call block", nodes.Include: "an include", nodes.Import: "an import",
    nodes.FromImport: "an import", nodes.Extends: "extends", nodes.Block: "a block", nodes.With: "with",
    nodes.FilterBlock: "a filter block", nodes.AssignBlock: "set with a body", nodes.Pow: "**",
    nodes.Dict: "a dictionary", nodes.ScopedEvalContextModifier: "autoescape", nodes.NSRef: "a namespace",
}  # fmt: skip


class Refusal(NamedTuple):
    """Why a template is not accepted, and on which line."""

    line: int
    problem: str
    remedy: str


def refusals(tree: nodes.Template) -> Iterator[Refusal]:
    """Everything in the template that is not allowed, in order."""
    todo: list[tuple[nodes.Node, int]] = [(tree, 0)]
    seen = 0
    while todo:
        node, depth = todo.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_NODES:
            yield Refusal(node.lineno, "is nested too deeply or has too many parts", "Split it, or write it simpler.")
            return
        if refusal := _refusal(node):
            yield refusal
            continue
        children = list(_children(node))
        todo.extend((child, depth + 1) for child in reversed(children))


def instrumented(tree: nodes.Template, kept: tokens.Kept) -> nodes.Template:
    """The accepted template, its loops and joins charged to the budget, the control tokens it writes itself kept."""
    charged: nodes.Template = _Charging(kept).visit(tree)
    return charged


def _children(node: nodes.Node) -> Iterator[nodes.Node]:
    # `loop` and `range` are names only where they stand in `loop.index` and `range(…)`.
    skipped = node.node if isinstance(node, nodes.Getattr | nodes.Call) else None
    return (child for child in node.iter_child_nodes() if child is not skipped)


def _refusal(node: nodes.Node) -> Refusal | None:
    if type(node) not in _ALLOWED:
        name = _NAMES.get(type(node), type(node).__name__.lower())
        return _no(node, f"{name} is not available in prompts", "Use if, for, set, ~ and the filters listed.")
    check = _CHECKS.get(type(node))
    return check(node) if check else None


def _name(node: nodes.Name) -> Refusal | None:
    if node.name.startswith("_") or node.name in RESERVED:
        return _no(node, f"{node.name} is not a name that a template may use here", "Choose another name.")
    return None


def _const(node: nodes.Const) -> Refusal | None:
    value = node.value
    if isinstance(value, int | float) and not abs(value) < 2**63:
        return _no(node, "the number is too large", "Use a smaller one.")
    if isinstance(value, str) and (not _encodes(value) or tokens.find(value)):
        return _no(node, "the text in quotes has a control token or a character that is not text", "Leave it out.")
    return None


def _data(node: nodes.TemplateData) -> Refusal | None:
    return None if _encodes(node.data) else _no(node, "has a character that is not text", "Leave it out.")


def _getattr(node: nodes.Getattr) -> Refusal | None:
    if isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in LOOP:
        return None
    allowed = ", ".join(f"loop.{name}" for name in sorted(LOOP))
    return _no(node, f".{node.attr} is not available: values have no attributes", f"Of attributes there are {allowed}.")


def _getitem(node: nodes.Getitem) -> Refusal | None:
    if isinstance(node.arg, nodes.Const) and not isinstance(node.arg.value, int):
        return _no(node, f"[{node.arg.value!r}] is not available: values have no attributes", "Use a whole number.")
    return None


def _call(node: nodes.Call) -> Refusal | None:
    if not (isinstance(node.node, nodes.Name) and node.node.name == "range"):
        return _no(node, "nothing can be called but range", "Use a filter.")
    if node.kwargs or node.dyn_args or node.dyn_kwargs or not 1 <= len(node.args) <= 3:
        return _no(node, "range takes one to three numbers", "Write range(5) or range(1, 6).")
    if any(isinstance(arg, nodes.Const) and isinstance(arg.value, int) and arg.value > MAX_RANGE for arg in node.args):
        return _no(node, f"range is limited to {MAX_RANGE} numbers", "Loop over less.")
    return None


def _filter(node: nodes.Filter) -> Refusal | None:
    if node.name not in FILTERS:
        return _no(node, f"there is no filter {node.name}", f"There are {', '.join(FILTERS)}.")
    return _plain_arguments(node)


def _test(node: nodes.Test) -> Refusal | None:
    if node.name not in TESTS:
        return _no(node, f"there is no test {node.name}", f"There are {', '.join(TESTS)}.")
    return _plain_arguments(node)


def _plain_arguments(node: nodes.Filter | nodes.Test) -> Refusal | None:
    if node.dyn_args or node.dyn_kwargs:
        return _no(node, "* and ** are not available", "Write the arguments out.")
    return None


def _for(node: nodes.For) -> Refusal | None:
    if node.recursive:
        return _no(node, "a recursive loop is not available", "Leave out `recursive`.")
    return _target(node, node.target)


def _target(node: nodes.Node, target: nodes.Node) -> Refusal | None:
    if isinstance(target, nodes.Name):
        return None
    return _no(node, "only one name can be set at a time", "Write one name.")


def _list(node: nodes.List | nodes.Tuple) -> Refusal | None:
    if all(isinstance(item, nodes.Const) for item in node.items):
        return None
    return _no(node, "a list written in a template holds texts and numbers only", "Make it a variable of type list.")


def _no(node: nodes.Node, problem: str, remedy: str) -> Refusal:
    return Refusal(node.lineno, problem, remedy)


def _encodes(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


_CHECKS: dict[type[nodes.Node], Callable[[Any], Refusal | None]] = {
    nodes.Name: _name,
    nodes.Const: _const,
    nodes.TemplateData: _data,
    nodes.Getattr: _getattr,
    nodes.Getitem: _getitem,
    nodes.Call: _call,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.For: _for,
    nodes.Assign: lambda node: _target(node, node.target),
    nodes.List: _list,
    nodes.Tuple: _list,
}


class _Charging(NodeTransformer):
    def __init__(self, kept: tokens.Kept) -> None:
        self._kept = kept

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.TemplateData:  # noqa: N802  the library's name
        node.data = self._kept.hide(node.data)
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  the library's name
        weight = 1 + sum(1 for part in [*node.body, node.test or node.target] for _ in part.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _filtered(node.iter, COUNTED, [nodes.Const(weight, lineno=node.lineno)])
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Getitem | nodes.Filter:  # noqa: N802  the library's name
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node  # the compiler hands these to Sandbox.getitem, and slices past it
        parts = [node.arg.start, node.arg.stop, node.arg.step]
        return _filtered(node.node, SLICED, [part or nodes.Const(None, lineno=node.lineno) for part in parts])

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802  the library's name
        self.generic_visit(node)
        return _filtered(node.nodes[0], JOINED, node.nodes[1:])


def _filtered(node: nodes.Node, name: str, arguments: Sequence[nodes.Expr]) -> nodes.Filter:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)
