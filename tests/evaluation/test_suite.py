"""One suite for whoever requests an evaluation and for the program that does it."""

import pytest
from pydantic import ValidationError

from llmops_resources.errors import ValidationFailed
from llmops_resources.evaluation.suite import MetricName, Suite, chosen, stored


@pytest.mark.parametrize("bad", [{"seed": -1}, {"maxNewTokens": 1025}, {"maxNewTokens": 0}, {"metrics": []}])
def test_what_the_program_would_refuse_is_refused_when_it_is_asked_for(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Suite.model_validate(bad)


def test_an_unknown_metric_is_named_beside_the_known_ones() -> None:
    assert chosen(["rougeL"]) == (MetricName.ROUGE_L,)
    with pytest.raises(ValidationFailed) as refused:
        chosen(["f1", "beauty"])
    (problem,) = refused.value.details
    assert problem["path"] == "metrics"
    assert "rougeL" in problem["remedy"]


def test_a_row_from_before_a_bound_can_still_be_read() -> None:
    assert stored({"seed": -4, "metrics": ["f1"]}).seed == 0
