"""The demo's data: honest splits, nothing that looks personal, the same bytes each time."""

from pathlib import Path

import polars as pl
import pytest

from examples.demo_data import BENCHMARK, DEMO_FINETUNE, DEMO_PRETRAIN, TRAIN, VALIDATION, build, facts, mask, pairs
from llmops_resources.training.recipe import Recipe


def test_no_phrasing_is_in_two_splits() -> None:
    for topic in TRAIN:
        used = [*TRAIN[topic], *VALIDATION[topic], *BENCHMARK[topic]]
        assert len(set(used)) == len(used)
    questions = [{row["question"] for row in pairs(phrasings)} for phrasings in (TRAIN, VALIDATION, BENCHMARK)]
    assert not questions[0] & questions[1]
    assert not (questions[0] | questions[1]) & questions[2]


def test_every_fact_is_in_every_split_once_a_phrasing() -> None:
    assert len(facts()) > 150
    assert len({(topic, name) for topic, name, _ in facts()}) == len(facts())
    for phrasings in (TRAIN, VALIDATION, BENCHMARK):
        assert len(pairs(phrasings)) == sum(len(phrasings[topic]) for topic, _, _ in facts())


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to jane.doe@example.com.", "write to <email>."),
        ("ftp://user:secret@host/path is it", "<url> is it"),
        ("call 555-123-4567 now", "call <phone> now"),
        ("at 192.168.0.1:80", "at <ip>:80"),
        ("at 2001:db8::/32", "at <ip>/32"),
        ("card 4111 1111 1111 1111.", "card <number>."),
        ("Python 3.11.4 has 100000 lines, x[1::2]", "Python 3.11.4 has 100000 lines, x[1::2]"),
    ],
)
def test_what_looks_personal_is_masked_and_code_is_not(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_the_files_hold_distinct_real_text_and_all_pairs(tmp_path: Path) -> None:
    files = build(tmp_path / "demo")
    corpus = pl.read_parquet(files.corpus)["text"]
    assert corpus.n_unique() == len(corpus)
    assert corpus.str.len_bytes().sum() > 1_000_000
    assert any("dictionary" in text for text in corpus)
    assert pl.read_ndjson(files.train).height == len(pairs(TRAIN, step=2))
    assert pl.read_csv(files.validation).columns == pl.read_ndjson(files.benchmark).columns


def test_the_demo_recipes_are_valid() -> None:
    Recipe.from_hyperparameters("pretrain", DEMO_PRETRAIN, use_gpu=False)
    Recipe.from_hyperparameters("finetune", DEMO_FINETUNE, use_gpu=False)
