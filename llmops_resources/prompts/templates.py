"""Compile, validate, render: pure functions from content and values to messages, or to everything that is wrong.

Equal content and equal values give equal messages, on every machine. Nothing here reads a file, the clock's date or
the environment.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Template, meta, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from llmops_resources.prompts import arguments, grammar, tokens
from llmops_resources.prompts.content import (
    MAX_TEMPLATE_CHARS,
    MAX_TEMPLATE_LINES,
    MessageRole,
    PromptContent,
    PromptDefaults,
)
from llmops_resources.prompts.problems import PromptProblem, Severity, refuse
from llmops_resources.prompts.sandbox import BUDGET, Budget, Sandbox
from llmops_resources.prompts.tokens import Kept
from llmops_resources.values import Value

#: What running an accepted template can still raise: wrong types, a division by zero, too deep a nesting.
_FAILURES = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError)
#: What reading a hostile template can raise besides a syntax error of the template.
_UNREADABLE = (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError)


class RenderedMessage(Value):
    """One message as the model gets it."""

    role: MessageRole
    content: str


class RenderedPrompt(Value):
    """A prompt with its values filled in, and the digest of the content it was made from."""

    messages: tuple[RenderedMessage, ...]
    defaults: PromptDefaults
    digest: str


class PromptPreview(Value):
    """A rendering as far as it goes: `messages` is empty when an error stands in the way."""

    messages: tuple[RenderedMessage, ...]
    problems: tuple[PromptProblem, ...]


class Compiled:
    """Content, checked and ready to render; `problems` says what was found, errors and warnings.

    May be kept and shared between threads.
    """

    def __init__(self, content: PromptContent) -> None:
        self.content = content
        self._kept = Kept()
        self._sandbox = Sandbox()
        self._templates: list[Template] = []
        self.problems = tuple(self._compile())

    @property
    def sound(self) -> bool:
        """Whether it can be rendered."""
        return all(problem.severity is Severity.WARNING for problem in self.problems)

    def render(self, values: Mapping[str, Any]) -> RenderedPrompt:
        """The messages. Raises ValidationFailed naming every value, or every line, that is wrong."""
        refuse("the prompt has errors", self.problems)
        messages, problems = self.attempt(values)
        refuse("the prompt cannot be rendered with these values", problems)
        return RenderedPrompt(messages=messages, defaults=self.content.defaults, digest=self.content.digest)

    def attempt(self, values: Mapping[str, Any]) -> tuple[tuple[RenderedMessage, ...], list[PromptProblem]]:
        """The messages, or why there are none; for content without errors."""
        kept = self._kept.copy()
        bound, problems = arguments.bind(self.content.variables, values, kept)
        budget = Budget()
        messages: list[RenderedMessage] = []
        for number, template in enumerate(self._templates if not problems else []):
            text, problem = _run(template, {**bound, BUDGET: budget}, kept)
            if problem:
                problems.append(problem.model_copy(update={"path": f"messages.{number}.content"}))
            messages.append(RenderedMessage(role=self.content.messages[number].role, content=text))
        return (() if problems else tuple(messages)), problems

    def _compile(self) -> Iterator[PromptProblem]:
        yield from arguments.declaration_problems(self.content.variables)
        texts = [message.content for message in self.content.messages]
        if sum(map(len, texts)) > MAX_TEMPLATE_CHARS or sum(text.count("\n") for text in texts) > MAX_TEMPLATE_LINES:
            limits = f"{MAX_TEMPLATE_CHARS} characters and {MAX_TEMPLATE_LINES} lines"
            yield PromptProblem(path="messages", problem=f"are longer than {limits} together", remedy="Shorten them.")
            return
        declared, used = {variable.name for variable in self.content.variables}, set[str]()
        for number, text in enumerate(texts):
            for problem in self._compile_message(text, declared, used):
                yield problem.model_copy(update={"path": f"messages.{number}.content"})
        if len(self._templates) == len(texts):
            yield from self._unused(used)

    def _compile_message(self, text: str, declared: set[str], used: set[str]) -> Iterator[PromptProblem]:
        try:
            tree = self._sandbox.parse(text)
            found = [_problem(*refusal) for refusal in grammar.refusals(tree)]
            if not found:
                names = meta.find_undeclared_variables(tree) - set(self._sandbox.globals)
                used |= names
                found = list(_undeclared(tree, names - declared))
                yield from _written_tokens(text)
            if not found:
                code = self._sandbox.compile(grammar.instrumented(tree, self._kept))
                self._templates.append(Template.from_code(self._sandbox, code, self._sandbox.globals))
            yield from found
        except TemplateSyntaxError as error:
            yield _problem(error.lineno, error.message or "is not a template", "Correct the template's syntax.")
        except _UNREADABLE:
            yield _problem(1, "is nested too deeply or has a number too large", "Write it simpler.")

    def _unused(self, used: set[str]) -> Iterator[PromptProblem]:
        for number, variable in enumerate(self.content.variables):
            if variable.name not in used:
                yield PromptProblem(
                    path=f"variables.{number}.name",
                    problem=f"{variable.name} is declared and not used",
                    remedy="Use it in a message, or remove it.",
                    severity=Severity.WARNING,
                )


def preview(content: PromptContent, values: Mapping[str, Any]) -> PromptPreview:
    """Every problem of content and values at once, and the messages when there is no error."""
    compiled = Compiled(content)
    if not compiled.sound:
        return PromptPreview(messages=(), problems=compiled.problems)
    messages, problems = compiled.attempt(values)
    return PromptPreview(messages=messages, problems=(*compiled.problems, *problems))


def check(content: PromptContent) -> PromptContent:
    """The content when it is sound. Raises ValidationFailed naming every line that is not."""
    refuse("the prompt has errors", Compiled(content).problems)
    return content


def _run(template: Template, names: dict[str, Any], kept: Kept) -> tuple[str, PromptProblem | None]:
    budget: Budget = names[BUDGET]
    context = template.new_context(names)
    try:
        text = "".join(budget.put(chunk) for chunk in template.root_render_func(context))
        if token := tokens.find(text):
            return "", _problem(None, f"parts make up the control token {token}", "Give other values.")
        return kept.restore(text), None
    except _FAILURES as error:
        return "", _problem(_line(template, error), str(error) or type(error).__name__, "Correct this line.")


def _line(template: Template, error: BaseException) -> int | None:
    """The template's line that the error came from."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__jinja_template__") is template:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _undeclared(tree: nodes.Template, names: set[str]) -> Iterator[PromptProblem]:
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in names and node.ctx == "load":
            lines[node.name] = min(node.lineno, lines.get(node.name, node.lineno))
    for name in sorted(names, key=lambda it: lines.get(it, 0)):
        yield _problem(lines.get(name), f"{name} is not declared", f"Declare the variable {name}, or correct the name.")


def _written_tokens(text: str) -> Iterator[PromptProblem]:
    for number, line in enumerate(text.splitlines(), start=1):
        if token := tokens.find(line):
            yield PromptProblem(
                path="",
                line=number,
                problem=f"writes the control token {token}",
                remedy="Leave turns to the roles of the messages, unless the model is called without a chat template.",
                severity=Severity.WARNING,
            )


def _problem(line: int | None, problem: str, remedy: str) -> PromptProblem:
    return PromptProblem(path="", line=line, problem=problem, remedy=remedy)
