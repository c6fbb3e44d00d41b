"""Rubrics: what people judge answers by. A rubric is its content: its version is the digest of what it says."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import Field, model_validator
from sqlalchemy import select

from llmops_resources.database import Transaction
from llmops_resources.errors import FieldProblem, NotFound, ValidationFailed, field_problem
from llmops_resources.evaluation.agreement import Scale
from llmops_resources.evaluation.tables import ReviewRubricRow
from llmops_resources.values import Value, sha256_of


class CriterionKind(StrEnum):
    """How a criterion is answered: a whole number from `low` to `high`, a verdict, or which of two is better."""

    SCALE = "scale"
    PASS_FAIL = "pass_fail"  # noqa: S105  no password
    PAIRWISE = "pairwise"


#: The words of an answer and the number each is kept as: 1 for a pass, or the first evaluation's answer.
WORDS: Final[dict[CriterionKind, dict[str, float]]] = {
    CriterionKind.SCALE: {},
    CriterionKind.PASS_FAIL: {"pass": 1.0, "fail": 0.0},
    CriterionKind.PAIRWISE: {"first": 1.0, "tie": 0.5, "second": 0.0},
}
MOST_STEPS = 10


class Criterion(Value):
    """One thing to judge. On a scale, judgements further apart than `tolerance` are a disagreement."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    question: str = Field(min_length=1, max_length=500)
    kind: CriterionKind
    low: int = 1
    high: int = 5
    low_means: str = Field(default="", max_length=200)
    high_means: str = Field(default="", max_length=200)
    scale: Scale = Scale.ORDINAL
    tolerance: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _steps(self) -> "Criterion":
        if self.kind is CriterionKind.SCALE and not 2 <= self.high - self.low + 1 <= MOST_STEPS:
            raise ValueError(f"a scale has 2 to {MOST_STEPS} steps from low to high")
        return self

    @property
    def measured(self) -> Scale:
        """What the distance between two judgements means; a verdict has none, and a tie lies between two choices."""
        if self.kind is CriterionKind.SCALE:
            return self.scale
        return Scale.NOMINAL if self.kind is CriterionKind.PASS_FAIL else Scale.ORDINAL

    def apart(self, values: list[float]) -> bool:
        """Whether judgements of one unit disagree."""
        spread = max(values) - min(values) if values else 0
        return spread > (self.tolerance if self.kind is CriterionKind.SCALE else 0)


class Rubric(Value):
    """Criteria that are judged together. Comparing two answers and judging one are two tasks, and never one rubric."""

    name: str = Field(min_length=1, max_length=128)
    instructions: str = Field(default="", max_length=4_000)
    criteria: tuple[Criterion, ...] = Field(min_length=1, max_length=9)
    reason_required: bool = False

    @property
    def pairwise(self) -> bool:
        """Whether two answers are compared."""
        return self.criteria[0].kind is CriterionKind.PAIRWISE

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of what it says."""
        return sha256_of(self.json_dict())


class KeptRubric(Value):
    """A rubric with its digest and who wrote it."""

    digest: str
    rubric: Rubric
    created_by: str
    created_at: datetime


def keep(tx: Transaction, rubric: Rubric) -> KeptRubric:
    """Keep a rubric; the same content again is the same rubric. Raises ValidationFailed for one nobody can judge by."""
    _check(rubric)
    if (row := tx.session.get(ReviewRubricRow, rubric.digest)) is None:
        row = ReviewRubricRow(
            digest=rubric.digest, name=rubric.name, content=rubric.json_dict(), created_by=tx.actor.id
        )
        tx.session.add(row)
        tx.session.flush()
        tx.audit("review.rubric", "rubric", rubric.digest, name=rubric.name)
    return _value(row)


def get(tx: Transaction, digest: str) -> KeptRubric:
    """Raises NotFound."""
    row = tx.session.get(ReviewRubricRow, digest)
    if row is None:
        raise NotFound(f"there is no rubric {digest}", remedy="Keep the rubric first; its digest names it.")
    return _value(row)


def every(tx: Transaction) -> list[KeptRubric]:
    """All rubrics, the newest first."""
    query = select(ReviewRubricRow).order_by(ReviewRubricRow.created_at.desc(), ReviewRubricRow.digest)
    return [_value(row) for row in tx.session.scalars(query)]


def numbers(rubric: Rubric, given: dict[str, Any], *, swapped: bool) -> dict[str, float]:
    """Judgements as they are kept; `swapped`: the second answer was shown first.

    Raises:
        ValidationFailed: a criterion is missing, unknown or out of its range; every one is named.
    """
    problems: list[FieldProblem] = []
    kept: dict[str, float] = {}
    for criterion in rubric.criteria:
        number = _number(criterion, given.get(criterion.name), swapped=swapped)
        if number is None:
            problems.append(field_problem(f"values.{criterion.name}", "is no judgement of it", _range(criterion)))
        else:
            kept[criterion.name] = number
    unknown = sorted(set(given) - {criterion.name for criterion in rubric.criteria})
    problems += [field_problem(f"values.{it[:60]}", "is no criterion of the rubric", "Leave it out.") for it in unknown]
    if problems:
        raise ValidationFailed("the judgement does not fit the rubric", details=problems)
    return kept


def as_shown(rubric: Rubric, kept: dict[str, float], *, swapped: bool) -> dict[str, int | str]:
    """Kept judgements in the words in which they were given."""
    shown: dict[str, int | str] = {}
    for criterion in rubric.criteria:
        value = kept[criterion.name]
        if criterion.kind is CriterionKind.SCALE:
            shown[criterion.name] = int(value)
            continue
        if criterion.kind is CriterionKind.PAIRWISE and swapped:
            value = 1 - value
        shown[criterion.name] = next(word for word, number in WORDS[criterion.kind].items() if number == value)
    return shown


def _check(rubric: Rubric) -> None:
    problems = []
    if len({criterion.name for criterion in rubric.criteria}) < len(rubric.criteria):
        problems.append(field_problem("criteria", "two have the same name", "Give each a name of its own."))
    if len({criterion.kind is CriterionKind.PAIRWISE for criterion in rubric.criteria}) > 1:
        remedy = "Make two rubrics: comparing answers and judging one are two tasks."
        problems.append(field_problem("criteria", "some are pairwise and some are not", remedy))
    if problems:
        raise ValidationFailed("the rubric is not clear", details=problems)


def _number(criterion: Criterion, given: Any, *, swapped: bool) -> float | None:
    if criterion.kind is CriterionKind.SCALE:
        whole = isinstance(given, int) and not isinstance(given, bool)
        return float(given) if whole and criterion.low <= given <= criterion.high else None
    number = WORDS[criterion.kind].get(given) if isinstance(given, str) else None
    return 1 - number if number is not None and swapped and criterion.kind is CriterionKind.PAIRWISE else number


def _range(criterion: Criterion) -> str:
    if criterion.kind is CriterionKind.SCALE:
        return f"Give a whole number from {criterion.low} to {criterion.high}."
    return f"Give one of {', '.join(WORDS[criterion.kind])}."


def _value(row: ReviewRubricRow) -> KeptRubric:
    return KeptRubric(
        digest=row.digest,
        rubric=Rubric.model_validate(row.content),
        created_by=row.created_by,
        created_at=row.created_at,
    )
