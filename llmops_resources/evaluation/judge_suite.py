"""What models judge answers by: the rubric people judge by too, the models, and what they are shown."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, model_validator

from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.values import Value, sha256_of

MOST_JUDGES: Final = 5


class Judge(Value):
    """A version of a catalog model that judges; `max_tokens` bounds its answer.

    Its digest and name are filled in when the judging is requested.
    """

    model_id: UUID
    digest: Annotated[str, Field(max_length=80)] = ""
    name: Annotated[str, Field(max_length=300)] = ""
    max_tokens: Annotated[int, Field(ge=16, le=4_096)] = 512


class JudgeSuite(Value):
    """How answers are judged by models.

    `guidance` is added to the instructions of the rubric; `prompt_digest` says which approved prompt it came from.
    `sample_size` missing means every answer. `repairs`: how often a judge is asked again for an answer that can be
    read. Each judge answers at temperature 0.
    """

    rubric: Rubric
    judges: Annotated[tuple[Judge, ...], Field(min_length=1, max_length=MOST_JUDGES)]
    guidance: Annotated[str, Field(max_length=8_000)] = ""
    prompt_id: UUID | None = None
    prompt_digest: str | None = None
    show_reference: bool = True
    sample_size: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    repairs: Annotated[int, Field(ge=0, le=2)] = 1

    @model_validator(mode="after")
    def _different_judges(self) -> "JudgeSuite":
        if len({judge.model_id for judge in self.judges}) < len(self.judges):
            raise ValueError("the same model judges twice: its second voice would be no second opinion")
        return self

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of all that decides a judgement."""
        return sha256_of(self.json_dict())

    @property
    def manner(self) -> str:
        """`sha256:<hex>` of how every judge is asked: all but who judges, and which answers are drawn."""
        left_out = {"judges", "sampleSize", "seed"}
        return sha256_of({name: value for name, value in self.json_dict().items() if name not in left_out})


class Judging(Value):
    """What the row of a judge run holds. `secret` makes the marks around what is judged; nobody could know it before
    the answers were given, and afterwards it shows what was asked."""

    suite: JudgeSuite
    other_id: UUID | None = None
    secret: str


class Unit(Value):
    """What is judged in one go: a question, the answer that was expected, and one answer, or two to compare."""

    index: int
    input: str
    expected: str
    answers: tuple[str, ...]
