"""Where an automated run's answers come from when it is not the model's files: a provider, or a deployed endpoint."""

from decimal import Decimal
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.evaluation.suite import LOSSES, Suite
from llmops_resources.values import Value

AT_ONCE: Final = 4
AtOnce = Annotated[int, Field(ge=1, le=32)]


class Through(Value):
    """How a model is asked over HTTP: at the endpoint, or at the provider of an external model without one.

    At most so many questions are under way `at_once`.
    """

    endpoint_id: UUID | None = None
    route: Annotated[str, Field(max_length=64)] = ""
    at_once: AtOnce = AT_ONCE


class Generation(Value):
    """What asking came to. `unanswered` questions never got an answer, also after trying again.

    Tokens are as the model's server counted them, None where it did not; `cost` is by the dated prices of the
    platform, None where a price or a count is missing, which is not zero. Nobody promises that the same question gets
    the same answer again: `repeatable` is false.
    """

    by: Literal["provider", "endpoint"]
    asked: int
    answered: int
    unanswered: int
    input_tokens: int | None
    output_tokens: int | None
    cost: Decimal | None
    currency: str | None
    repeatable: bool = False


def without_losses(suite: Suite) -> Suite:
    """The suite for who only answers: how well a text was foreseen cannot be asked for over HTTP.

    Raises ValidationFailed when nothing is left to measure.
    """
    left = tuple(metric for metric in suite.metrics if metric not in LOSSES)
    if not left:
        problem = "only models with files here tell how well they foresee a text"
        remedy = "Choose metrics of answers, such as f1."
        raise ValidationFailed("nothing can be measured", details=[field_problem("metrics", problem, remedy)])
    return suite.model_copy(update={"metrics": left})
