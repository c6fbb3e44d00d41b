"""The staged reading of the language model gives what Presidio's engine gives."""

import random
from collections.abc import Iterator

import pytest
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine

from llmops_resources.checks.hits import Hit, merged
from llmops_resources.checks.ner import EntityReader, load_engine
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.recognizers import pattern_rules
from llmops_resources.checks.scan import PatternScan
from llmops_resources.checks.transitions import Decoder

WORDS = (
    "Barack Obama", "Angela", "Merkel", "Kim", "Min-su", "Dr.", "Seoul", "New York City", "the United Nations",
    "Apple Inc.", "on Monday", "3 March 2014", "last year", "paid", "met", "said that", "$5 million",
    "card 4111 1111 1111 1111",
    "two", "in", "and", ".", "!", "\n\n", "  ", "I", "kim@example.com", "010-1234-5678", "U.S.",
    "(2019)", "\"Then", "No. 5",
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> SpacyNlpEngine:
    return load_engine(CheckOptions().spacy_model)


def texts(count: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(count):
        yield " ".join(rng.choices(WORDS, k=rng.randint(0, 60)))


def test_findings_equal_those_of_presidios_batch_engine(engine: SpacyNlpEngine) -> None:
    import polars as pl

    corpus = [*texts(150, 5), "", " ", "\n", "hello", "x" * 400, "Paris"]
    rules = pattern_rules(("KR", "US", "GB"))
    registry = RecognizerRegistry([rule.recognizer for rule in rules])
    registry.add_nlp_recognizer(engine)
    batch = BatchAnalyzerEngine(AnalyzerEngine(registry=registry, nlp_engine=engine))
    theirs = batch.analyze_iterator(corpus, "en", batch_size=32, score_threshold=0.4)
    reader = EntityReader(engine)
    found = PatternScan(rules, 0.4).scan(pl.Series(corpus))
    ours = [
        merged([*found.get(index, ()), *(Hit(*entity) for entity in entities)])
        for index, entities in enumerate(reader.read(corpus))
    ]
    assert reader.staged
    assert reader.reruns > 0  # the corpus has sentences that start inside what looks like one entity
    assert sum(map(len, ours)) > 500
    assert [sorted(map(tuple, row)) for row in ours] == [
        sorted((r.entity_type, r.start, r.end, r.score) for r in row) for row in theirs
    ]


def test_a_pipeline_of_another_shape_is_run_as_a_whole(engine: SpacyNlpEngine) -> None:
    corpus = list(texts(10, 6))
    staged = list(EntityReader(engine).read(corpus))
    pipeline = engine.get_nlp("en")
    pipeline.add_pipe("entity_ruler", last=True)
    try:
        reader = EntityReader(engine)
        assert not reader.staged
        assert list(reader.read(corpus)) == staged
    finally:
        pipeline.remove_pipe("entity_ruler")


def test_a_decoder_that_disagrees_with_the_model_is_not_used(
    engine: SpacyNlpEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoder, "_scores", lambda self, summed: -summed.max(axis=-1) @ self._weights)
    assert Decoder.of(engine.get_nlp("en")) is None
