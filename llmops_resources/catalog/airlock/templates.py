"""Chat templates: programs in Jinja that come with a model, read and tried here before any runtime renders them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from jinja2 import TemplateSyntaxError, nodes

from llmops_resources.catalog.airlock import rendering
from llmops_resources.catalog.airlock.report import Problems, shown

MAX_TEMPLATE_CHARACTERS: Final = 100_000
MAX_TEMPLATES: Final = 20
_KEY: Final = "chat_template"
_PLAIN: Final = "Write the template with loops, conditions and the fields of the messages only."
_INSIDE: Final = re.compile(r"__\w+__")
_REFUSED_TAGS: Final = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_PATIENCE: Final = 10.0  # seconds; the process has one second of processor time, and the machine may be busy


def found_in(path: str, values: dict[str, Any], problems: Problems) -> dict[str, str]:
    """The chat templates of a JSON file, by where they stand: one text, or a list of named ones."""
    given = values.get(_KEY)
    if given is None:
        return {}
    if isinstance(given, str):
        return {f"{path} {_KEY}": given}
    entries = given if isinstance(given, list) else [given]
    texts = [entry.get("template") for entry in entries if isinstance(entry, dict)]
    if len(texts) != len(entries) or not all(isinstance(text, str) for text in texts):
        problems.add(f"{path} {_KEY}", "is neither a text nor a list of named texts", "Use the original file.")
        return {}
    return {f"{path} {_KEY} {number}": text for number, text in enumerate(texts, start=1) if isinstance(text, str)}


def check_templates(templates: dict[str, str], problems: Problems) -> dict[str, str]:
    """A problem for each template that no runtime should render; how the others went on a short talk."""
    if len(templates) > MAX_TEMPLATES:
        problems.add("chat templates", f"there are {len(templates)}", f"A model has at most {MAX_TEMPLATES}.")
        return {}
    sound = {}
    for place, source in templates.items():
        if (reason := _why_refused(source)) is not None:
            problems.add(place, reason, _PLAIN)
        else:
            sound[place] = source
    outcomes = {}
    for place, (allowed, outcome) in zip(sound, _tried(list(sound.values())), strict=True):
        outcomes[shown(place)] = shown(outcome, 200)
        if not allowed:
            problems.add(place, outcome, _PLAIN)
    return outcomes


def _why_refused(source: str) -> str | None:
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        return f"has {len(source):,} characters; at most {MAX_TEMPLATE_CHARACTERS:,} are read"
    try:
        tree = rendering.environment().parse(source)
    except TemplateSyntaxError as error:
        return f"is not a Jinja template: {shown(error.message, 200)} (line {error.lineno})"
    except RecursionError:
        return "is nested too deeply"
    waiting: list[nodes.Node] = [tree]
    while waiting:  # without recursion: a stranger decides how deep the tree is
        node = waiting.pop()
        if (reason := _forbidden(node)) is not None:
            return f"{reason} (line {node.lineno})"
        waiting.extend(node.iter_child_nodes())
    return None


def _forbidden(node: nodes.Node) -> str | None:
    if isinstance(node, _REFUSED_TAGS):
        return "it loads another template"
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        return f"it reaches for the attribute {shown(node.attr, 60)}"
    if isinstance(node, nodes.Const) and isinstance(node.value, str) and _INSIDE.search(node.value):
        return f"it names a part of Python's inside, {shown(_INSIDE.findall(node.value)[0], 60)}"
    if isinstance(node, nodes.Filter) and node.name == "attr":
        return "it uses the filter attr"
    if isinstance(node, nodes.Pow):
        return "it computes a power"
    return None


def _tried(sources: list[str]) -> list[tuple[bool, str]]:
    """How each template went, in a process of its own that the kernel ends when it takes too long or too much."""
    if not sources:
        return []
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(Path(rendering.__file__))],
            input=json.dumps(sources).encode(),
            capture_output=True,
            timeout=_PATIENCE,
            env={},
            check=True,
        )
        return [(bool(allowed), str(outcome)) for allowed, outcome in json.loads(done.stdout)]
    except (subprocess.SubprocessError, ValueError):
        if len(sources) > 1:
            return [outcome for source in sources for outcome in _tried([source])]
        return [(False, "it takes too long or too much memory on a short talk")]
