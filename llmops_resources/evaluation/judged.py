"""What judges found, as a result keeps it."""

from decimal import Decimal
from uuid import UUID

from llmops_resources.evaluation.judge_licences import Bias, Licence
from llmops_resources.evaluation.judge_suite import Judge
from llmops_resources.evaluation.review_results import Coefficient
from llmops_resources.evaluation.review_rubrics import Rubric
from llmops_resources.values import Value


class UnitJudgement(Value):
    """What one judge said of one unit; without values, `problem` says why there are none.

    `steady`: of two answers it preferred the same in both orders; where it did not, its judgement is a tie.
    """

    judge: int
    values: dict[str, float]
    reason: str = ""
    confidence: float | None = None
    steady: bool | None = None
    problem: str = ""


class JudgedUnit(Value):
    """A unit with what each judge said of it, in the order of the judges."""

    index: int
    judgements: tuple[UnitJudgement, ...]


class JudgeReport(Value):
    """One judge's part. `unreadable` answers are no judgement even after asking again, `silent` ones never came.

    Tokens are what the model's server counted, None where it did not. `cost` is by the dated prices of the platform;
    None, which is not zero, where a price or a count is missing, and for a judge that ran here. By criterion: `bias`,
    and `reliability` where it was estimated.
    """

    judge: Judge
    asked: int
    scored: int
    unreadable: int
    silent: int
    repaired: int
    input_tokens: int | None
    output_tokens: int | None
    cost: Decimal | None
    currency: str | None
    bias: dict[str, Bias]
    reliability: dict[str, float | None]


class Judged(Value):
    """The judges' part of a result. By criterion: `methods` of the consensus, and `agreement` among the judges."""

    rubric: Rubric
    rubric_digest: str
    suite_digest: str
    judges: tuple[JudgeReport, ...]
    methods: dict[str, str]
    agreement: dict[str, tuple[Coefficient, ...]]
    units: tuple[JudgedUnit, ...]


class JudgeLicence(Value):
    """Whether a judge of a run, or all of them together, may decide about a criterion, by what people have said so far.

    `judge` is missing for the consensus.
    """

    judge: Judge | None
    criterion: str
    reviews: tuple[UUID, ...]
    licence: Licence
