"""Conditions on experiments are read into typed values, or refused with a sentence that helps."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.errors import ValidationFailed
from llmops_resources.training.conditions import MOST, Condition, parameters, parse

OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.sampled_from(sorted(name for name, kind in parameters().items() if kind == "number"))
METRICS = st.text(alphabet="abcXYZ019_./-", min_size=1, max_size=64)


@given(st.lists(st.tuples(METRICS, OPERATORS, FINITE), max_size=MOST), st.sampled_from([",", " , ", " and ", " AND "]))
def test_what_is_written_is_what_is_read(wanted: list[tuple[str, str, float]], between: str) -> None:
    text = between.join(f"metric.{name} {operator} {value!r}" for name, operator, value in wanted)
    assert [(each.name, each.operator, each.value) for each in parse(text)] == wanted


@given(NUMBERS, OPERATORS, FINITE)
def test_a_number_of_the_recipe_is_compared_as_a_number(name: str, operator: str, value: float) -> None:
    (condition,) = parse(f"param.{name}{operator}{value!r}")
    assert (condition.of, condition.name, condition.operator, condition.value) == ("param", name, operator, value)


@given(st.text(alphabet=st.characters(exclude_characters='"\0', exclude_categories=["Cs"]), max_size=200))
def test_a_quoted_text_is_kept_as_it_is(text: str) -> None:
    assert parse(f'param.textColumn="{text}"')[0].value == text


@given(st.text() | st.text(alphabet='param.metric<>=!,"and 019lossrE-+\0', max_size=80))
def test_whatever_is_sent_is_read_or_refused_with_a_remedy(text: str) -> None:
    refused = None
    try:
        found = parse(text)
    except ValidationFailed as error:
        refused = error
    if refused is None:
        assert all(isinstance(each, Condition) for each in found)
        return
    assert [detail["path"] for detail in refused.details] == ["where"]
    assert refused.details[0]["remedy"]
    json.dumps(refused.details)


def test_names_are_found_in_either_spelling_and_nested_ones_by_dots() -> None:
    found = parse(
        "param.learning_rate<=1e-3, param.learningRate<1 and param.architecture.hidden_size=32, param.lora=none"
    )
    assert [each.name for each in found] == ["learningRate", "learningRate", "architecture.hiddenSize", "lora"]
    assert found[-1].value is None


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("param.learning_rat<1", "is no parameter", "param.learningRate?"),
        ("param.learning_rate<fast", "is a number", "0.001"),
        ("metric.loss<nan", "is a number", "0.001"),
        ("metric.loss<1e999", "is a number", "0.001"),
        ("param.compile=yes", "true or false", "true or false"),
        ("param.optimizer<adamw", "cannot be compared with <", "= or !="),
        ("param.lora=8", "several parameters", "param.lora.rank"),
        ("loss<2", "is no condition", "metric.<name>"),
        ("metric.loss<2 metric.loss>1", "follows a condition", "comma"),
        ("metric.loss<2,", "follows a condition", "comma"),
        (",".join(["metric.loss<2"] * 21), "21 conditions", "at most 20"),
    ],
)
def test_a_wrong_condition_is_refused_with_what_to_write(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse(text)
    assert problem in refused.value.details[0]["problem"]
    assert remedy in refused.value.details[0]["remedy"]
