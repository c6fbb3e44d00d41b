"""What is wrong with a template or with the values given to it, and where."""

from collections.abc import Iterable
from enum import StrEnum

from llmops_resources.errors import FieldProblem, ValidationFailed, field_problem
from llmops_resources.values import Value


class Severity(StrEnum):
    """An error refuses; a warning only says."""

    ERROR = "error"
    WARNING = "warning"


class PromptProblem(Value):
    """One finding. `path` names the field, such as `messages.0.content`; `line` counts from 1 within its text."""

    path: str
    line: int | None = None
    problem: str
    remedy: str
    severity: Severity = Severity.ERROR

    def as_field(self) -> FieldProblem:
        """The finding as an error lists it; the line follows the path after a colon."""
        return field_problem(f"{self.path}:{self.line}" if self.line else self.path, self.problem, self.remedy)


def refuse(message: str, problems: Iterable[PromptProblem]) -> None:
    """Raises ValidationFailed with every error among the problems, if there is one."""
    errors = [problem.as_field() for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise ValidationFailed(message, details=errors)
