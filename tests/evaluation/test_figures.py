"""What a run's result holds for every metric, and that what has no score is counted and enters no mean."""

import pytest

from llmops_assets.evaluation.figures import result, signatures
from llmops_resources.evaluation.suite import MetricName, Suite, Tokenization

ROWS = [("ask", "B-PER O"), ("ask", "O B-LOC"), ("ask", "seoul"), ("", "O"), ("ask", "O O")]
TEXTS = ["B-PER O", "O O", "Seoul.", "O", None]
LOSSES = [(2.0, 2), (4.0, 2), None, (9.0, 1), (6.0, 3)]


def test_each_metric_stands_on_the_samples_it_can_score() -> None:
    found = result(Suite(metrics=tuple(MetricName)), list(enumerate(ROWS)), TEXTS, LOSSES)
    assert set(found["metrics"]) == {metric.value for metric in MetricName}
    n = {name: figure["n"] for name, figure in found["metrics"].items()}
    assert n.pop("ner_f1") == 2  # a reference that is no tags has no entities to find
    assert n == dict.fromkeys(n, 3)
    values = {name: figure["value"] for name, figure in found["metrics"].items()}
    assert values["accuracy"] == pytest.approx(2 / 3)
    assert values["macro_f1"] == pytest.approx(2 / 3)
    assert values["micro_f1"] == pytest.approx(4 / 5)
    assert values["ner_f1"] == pytest.approx(2 / 3)
    assert values["answer_length"] == pytest.approx((7 + 3 + 6) / 3)
    assert values["perplexity"] == pytest.approx(5.5519, abs=1e-3)  # exp of 12 nats over 7 tokens
    assert found["counts"] == {"total": 5, "scored": 4, "unscored": 1}


@pytest.mark.parametrize("metric", list(MetricName))
def test_a_metric_alone_is_all_that_is_scored(metric: MetricName) -> None:
    found = result(Suite(metrics=(metric,)), list(enumerate(ROWS)), TEXTS, LOSSES)
    assert set(found["metrics"]) == {metric.value}
    assert found["counts"]["scored"] == found["metrics"][metric.value]["n"]


def test_nothing_answered_gives_no_figures_and_counts_every_sample() -> None:
    found = result(Suite(metrics=tuple(MetricName)), list(enumerate(ROWS)), [None] * 5, [None] * 5)
    assert found["metrics"] == {}
    assert found["counts"] == {"total": 5, "scored": 0, "unscored": 5}


def test_the_tokenization_is_part_of_the_signatures_it_changes() -> None:
    words, characters = (signatures(Suite(metrics=tuple(MetricName), tokenization=kind)) for kind in Tokenization)
    assert set(words) == {metric.value for metric in MetricName}
    changed = {name for name in words if words[name] != characters[name]}
    assert changed == {"exact_match", "f1", "bleu", "rouge1", "rouge2", "rougeL"}
