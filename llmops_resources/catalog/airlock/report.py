"""What the airlock says about a model's files: accepted or not, every reason, and what was seen in them."""

from typing import Any, Final

from llmops_resources.errors import FieldProblem, field_problem
from llmops_resources.values import Value

#: More problems than this are counted and not listed: nobody reads them, and a stranger decides how many there are.
SHOWN_PROBLEMS: Final = 50


class AirlockProblem(Value):
    """One reason to refuse: the file (and what in it), what is wrong, and what would be right."""

    path: str
    problem: str
    remedy: str


class AirlockReport(Value):
    """The verdict on the files of one model version.

    `needs_conversion`: the files are in order so far, but the weights are pickles, which must become safetensors in
    the sandbox and be inspected again before anything is published. `summary` is JSON: what was checked and seen.
    """

    accepted: bool
    needs_conversion: bool
    problems: tuple[AirlockProblem, ...]
    summary: dict[str, Any]

    def details(self) -> list[FieldProblem]:
        """The problems as the details of an error."""
        return [field_problem(problem.path, problem.problem, problem.remedy) for problem in self.problems]


class Problems:
    """Collects what is wrong, and keeps the first SHOWN_PROBLEMS of it."""

    def __init__(self) -> None:
        self.kept: list[AirlockProblem] = []
        self.total = 0

    def add(self, path: str, problem: str, remedy: str) -> None:
        """Note one problem; all three may quote a stranger's text, which is made safe to show here."""
        self.total += 1
        if len(self.kept) < SHOWN_PROBLEMS:
            self.kept.append(AirlockProblem(path=shown(path, 300), problem=shown(problem, 500), remedy=remedy))


def shown(text: object, limit: int = 120) -> str:
    """A stranger's text for people to read: printable characters only, of bounded length."""
    raw = str(text)[: limit + 1]
    visible = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in raw)
    return visible if len(visible) <= limit else visible[: limit - 1] + "…"
