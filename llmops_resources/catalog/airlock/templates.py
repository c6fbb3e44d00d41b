"""Chat templates: programs in Jinja that come with a model, read here before any runtime renders them."""

import re
from typing import Any, Final

from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmops_resources.catalog.airlock.report import Problems, shown

MAX_TEMPLATE_CHARACTERS: Final = 100_000
_KEY: Final = "chat_template"
_PLAIN: Final = "Write the template with loops, conditions and the fields of the messages only."
_INSIDE: Final = re.compile(r"__\w+__")
_REFUSED_TAGS: Final = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class Generation(Extension):
    """`{% generation %}…{% endgeneration %}`, with which trainers mark the assistant's words; renders its body."""

    tags = {"generation"}  # noqa: RUF012  jinja2's own attribute

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body alone."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> ImmutableSandboxedEnvironment:
    """The sandbox in which templates are read and rendered, set up as the runtimes set theirs up."""
    return ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols], optimized=False
    )


def found_in(path: str, values: dict[str, Any], problems: Problems) -> dict[str, str]:
    """The chat templates of a JSON file, by where they stand: one text, or a list of named ones."""
    given = values.get(_KEY)
    if given is None:
        return {}
    if isinstance(given, str):
        return {f"{path} {_KEY}": given}
    entries = given if isinstance(given, list) else [given]
    texts = [entry.get("template") for entry in entries if isinstance(entry, dict)]
    if len(texts) != len(entries) or not all(isinstance(text, str) for text in texts) or len(texts) > 20:
        problems.add(f"{path} {_KEY}", "is neither a text nor a list of named texts", "Use the original file.")
        return {}
    return {f"{path} {_KEY} {number}": text for number, text in enumerate(texts, start=1) if isinstance(text, str)}


def check_template(place: str, source: str, problems: Problems) -> None:
    """A problem when the template is not one that may be rendered: too long, not Jinja, or reaching for the inside."""
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        problems.add(place, f"has {len(source):,} characters; at most {MAX_TEMPLATE_CHARACTERS:,} are read", _PLAIN)
        return
    try:
        tree = environment().parse(source)
    except TemplateSyntaxError as error:
        problems.add(place, f"is not a Jinja template: {shown(error.message, 200)} (line {error.lineno})", _PLAIN)
        return
    except RecursionError:
        problems.add(place, "is nested too deeply", _PLAIN)
        return
    if (reason := _forbidden(tree)) is not None:
        problems.add(place, reason, _PLAIN)


def _forbidden(tree: nodes.Template) -> str | None:
    for node in _walk(tree):
        if isinstance(node, _REFUSED_TAGS):
            return f"it loads another template (line {node.lineno})"
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            return f"it reaches for the attribute {shown(node.attr, 60)} (line {node.lineno})"
        if isinstance(node, nodes.Const) and isinstance(node.value, str) and _INSIDE.search(node.value):
            return f"it names a part of Python's inside (line {node.lineno})"
        if isinstance(node, nodes.Filter) and node.name == "attr":
            return f"it uses the filter attr (line {node.lineno})"
        if isinstance(node, nodes.Pow):
            return f"it computes a power (line {node.lineno})"
    return None


def _walk(tree: nodes.Node) -> list[nodes.Node]:
    """Every node; without recursion, since a stranger decides how deep the tree is."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting.extend(node.iter_child_nodes())
    return found
