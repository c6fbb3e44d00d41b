"""What changed between two prompts: line by line in the messages, and in the variables and defaults."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import zip_longest

from llmops_resources.prompts.content import MessageTemplate, PromptContent, PromptDefaults, Variable
from llmops_resources.values import Value


class LineChange(StrEnum):
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"


class DiffLine(Value):
    """One line; `before` and `after` are its numbers there, None where it does not stand."""

    change: LineChange
    text: str
    before: int | None
    after: int | None


class DiffSection(Value):
    """A part of the prompt: `messages.0`, `variables`, `defaults`."""

    path: str
    lines: tuple[DiffLine, ...]


class PromptDifference(Value):
    """Every section of both prompts; `identical` when nothing changed."""

    before: str
    after: str
    identical: bool
    sections: tuple[DiffSection, ...]


def difference(old: PromptContent, new: PromptContent, *, before: str, after: str) -> PromptDifference:
    """The difference of two contents; `before` and `after` are what people call them."""
    pairs = [
        (f"messages.{number}", _message(one), _message(other))
        for number, (one, other) in enumerate(zip_longest(old.messages, new.messages))
    ]
    pairs.append(("variables", [_variable(it) for it in old.variables], [_variable(it) for it in new.variables]))
    pairs.append(("defaults", _defaults(old.defaults), _defaults(new.defaults)))
    sections = tuple(DiffSection(path=path, lines=tuple(_lines(one, other))) for path, one, other in pairs)
    changed = any(line.change is not LineChange.SAME for section in sections for line in section.lines)
    return PromptDifference(before=before, after=after, identical=not changed, sections=sections)


def _lines(old: list[str], new: list[str]) -> Iterator[DiffLine]:
    for operation, i1, i2, j1, j2 in SequenceMatcher(None, old, new).get_opcodes():
        if operation == "equal":
            for offset, text in enumerate(old[i1:i2]):
                yield DiffLine(change=LineChange.SAME, text=text, before=i1 + offset + 1, after=j1 + offset + 1)
            continue
        for number, text in enumerate(old[i1:i2], start=i1 + 1):
            yield DiffLine(change=LineChange.REMOVED, text=text, before=number, after=None)
        for number, text in enumerate(new[j1:j2], start=j1 + 1):
            yield DiffLine(change=LineChange.ADDED, text=text, before=None, after=number)


def _message(message: MessageTemplate | None) -> list[str]:
    """The role, then the text: line 1 of the text is line 2 here."""
    return [] if message is None else [f"[{message.role}]", *message.content.split("\n")]


def _variable(variable: Variable) -> str:
    words = [variable.type.value, "required" if variable.required else "optional", f"at most {variable.limit}"]
    if variable.default is not None:
        words.append(f"default {variable.default!r}")
    words.append(f"control tokens: {variable.control_tokens}")
    return f"{variable.name}: {', '.join(words)}" + (f" ({variable.description})" if variable.description else "")


def _defaults(defaults: PromptDefaults) -> list[str]:
    return [f"{name}: {value}" for name, value in defaults.json_dict().items() if value is not None]
