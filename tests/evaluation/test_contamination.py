"""What of a benchmark stands in training data: found where it is, not where it is not, and unknown is never clean."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_assets.evaluation import score as program
from llmops_assets.evaluation import seen
from llmops_assets.evaluation.contamination import Index
from llmops_resources.catalog import lineage
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.lineage import Role
from llmops_resources.database import Actor
from llmops_resources.evaluation import runs
from llmops_resources.evaluation.contamination import Contamination, How, Source, Training
from llmops_resources.evaluation.suite import Suite, Tokenization
from llmops_resources.platform import Platform
from tests.factories import uploaded
from tests.tiny_model import write_tiny_model

WORDS, CHARACTERS = Tokenization.WORDS, Tokenization.CHARACTERS
LONG = "a ship left the old harbour at dawn and sailed past nine green islands before the storm broke its mast"
KOREAN = ("대한민국의 수도는 어디인가요?", "서울특별시입니다.")


@pytest.mark.parametrize(
    ("kind", "sample", "row", "how"),
    [
        (WORDS, (LONG, "yes"), [f"so it was: {LONG} and more"], How.NGRAM),
        (WORDS, (LONG, "yes"), [LONG.upper().replace(" ", ", ")], How.NGRAM),
        (WORDS, ("Two plus two?", "Four."), ["two PLUS two four"], How.NGRAM),
        (WORDS, ("Two plus two?", "Four."), ["four", "some context between", "two plus two"], How.NGRAM),
        (CHARACTERS, KOREAN, ["머리말 대한민국의수도는 어디인가요 서울 특별시입니다 꼬리말"], How.NGRAM),
        (CHARACTERS, KOREAN, [KOREAN[1], KOREAN[0]], How.NGRAM),
    ],
)
def test_a_sample_in_the_data_is_found_in_whatever_case_spacing_or_punctuation(
    kind: Tokenization, sample: tuple[str, str], row: list[str], how: How
) -> None:
    other = ("Who wrote the third letter?", "The miller's daughter.")
    assert Index({3: sample, 8: other}, kind).matches(row) == {3: how}


def test_a_row_with_a_word_changed_in_every_run_is_a_near_duplicate() -> None:
    words = [f"word{n}" for n in range(120)]
    near, far = ([word if n % step else f"other{n}" for n, word in enumerate(words)] for step in (12, 4))
    index = Index({1: (" ".join(words), "")}, WORDS)
    assert index.matches([" ".join(near)]) == {1: How.NEAR_DUPLICATE}  # similarity 110 / 130
    assert index.matches([" ".join(far)]) == {}  # similarity 90 / 150


def test_a_korean_row_with_a_character_changed_in_every_run_is_a_near_duplicate() -> None:
    text = "".join(chr(0xAC00 + 7 * n) for n in range(400))
    near, far = ("".join("x" if n % step == 0 else c for n, c in enumerate(text)) for step in (50, 12))
    index = Index({1: (text, "")}, CHARACTERS)
    assert index.matches([near]) == {1: How.NEAR_DUPLICATE}
    assert index.matches([far]) == {}


LETTERS = st.text("abcdefgh", min_size=1, max_size=6)
TEXTS = st.lists(LETTERS, min_size=1, max_size=40).map(" ".join)


@given(st.sampled_from(Tokenization), TEXTS, TEXTS, TEXTS, st.booleans())
def test_a_sample_copied_verbatim_is_always_found_and_other_words_never(
    kind: Tokenization, prompt: str, answer: str, around: str, in_cells: bool
) -> None:
    index = Index({0: (prompt, answer)}, kind)
    row = [around, answer, around, prompt] if in_cells else [f"{around} {prompt} {answer}"]
    # as cells apart, a long text is found by its runs and a short one by its two cells
    assert set(index.matches(row)) == {0}
    assert index.matches([around.translate(str.maketrans("abcdefgh", "stuvwxyz"))]) == {}


def test_a_sample_without_a_word_is_never_in_the_data() -> None:
    assert Index({0: ("?!", "...")}, WORDS).matches(["", "?!"]) == {}


def prepared(work: Path, rows: list[dict[str, Any]], sources: list[Source], unknown: tuple[str, ...] = ()) -> Path:
    work.mkdir(exist_ok=True)
    for source in sources:
        (work / "training" / str(source.id)).mkdir(parents=True)
        pl.DataFrame(rows).write_parquet(work / "training" / str(source.id) / "rows.parquet")
    told = Training(sources=tuple(sources), unknown=unknown)
    (work / seen.TRAINING).write_text(told.model_dump_json(by_alias=True))
    return work


def source(**given: Any) -> Source:
    return Source(id=uuid4(), name="corpus", version="1.0.0", **given)


def test_what_was_not_read_is_stated_and_never_clean(tmp_path: Path) -> None:
    rows = [{"text": f"row {n} of the corpus"} for n in range(30)]
    work = prepared(tmp_path / "w", rows, [source(rows_total=30)])
    samples = {0: ("row 20 of", "the corpus"), 1: ("nothing", "like it")}
    whole, part = (seen.measure(work, samples, Suite(), most) for most in (None, 10))
    assert [(o.index, o.dataset, o.row) for o in whole.overlaps] == [(0, "corpus", 20)]
    assert (whole.complete, part.complete, part.overlaps) == (True, False, ())
    assert (part.training.sources[0].rows_read, part.training.sources[0].rows_total) == (10, 30)
    prepared(tmp_path / "u", rows, [source(rows_total=30)], unknown=("base 1.0.0",))
    assert not seen.measure(tmp_path / "u", samples, Suite()).complete
    prepared(tmp_path / "d", rows, [source(rows_total=30, reason="it was deleted")])
    deleted = seen.measure(tmp_path / "d", samples, Suite())
    assert (deleted.measured, deleted.reason) == (False, "no training data of this model could be read")


def test_files_that_cannot_be_read_are_a_reason_and_no_failure(tmp_path: Path) -> None:
    given = source()
    work = prepared(tmp_path / "w", [{"text": "a"}], [given])
    (work / "training" / str(given.id) / "rows.parquet").write_bytes(b"no parquet")
    found = seen.measure(work, {0: ("a", "b")}, Suite())
    assert not found.measured
    assert "cannot be read" in str(found.training.sources[0].reason)
    (work / seen.TRAINING).write_text("{")
    assert "could not be measured" in str(seen.measure(work, {0: ("a", "b")}, Suite()).reason)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def test_an_evaluation_says_what_the_model_had_seen_and_scores_the_rest(model: Path, tmp_path: Path) -> None:
    rows = [{"question": f"What follows {n}?", "answer": f"It is {n + 1}."} for n in range(20)]
    results = []
    for name in ("one", "two"):
        work = prepared(tmp_path / name, rows[10:], [source(rows_total=10)])
        (work / "data").mkdir()
        pl.DataFrame(rows).write_csv(work / "data/rows.csv")
        (work / "model").symlink_to(model)
        (work / "suite.json").write_text(json.dumps({"maxNewTokens": 4, "metrics": ["f1", "bleu", "perplexity"]}))
        program.main(work)
        results.append(runs.Result.model_validate_json((work / "result.json").read_bytes()))
    found = results[0].contamination
    assert found is not None
    assert found.complete
    assert [overlap.index for overlap in found.overlaps] == list(range(10, 20))
    assert {name: figure.n for name, figure in found.clean.items()} == {"f1": 10, "bleu": 10, "perplexity": 10}
    clean = [sample.scores["f1"] for sample in results[0].samples[:10]]
    assert found.clean["f1"].value == pytest.approx(sum(clean) / 10)
    again = results[1].contamination
    assert again is not None
    assert again.clean == found.clean
    assert again.overlaps == found.overlaps


def test_a_result_from_before_it_was_measured_still_loads() -> None:
    old = {"metrics": {}, "protocol": {}, "samples": [], "counts": {"total": 0, "scored": 0, "unscored": 0}}
    result = runs.Result.model_validate(old)
    assert result.contamination is None
    assert seen.line(result.contamination).startswith("not measured")
    assert seen.line(Contamination(measured=True, samples=4)).startswith("0 of 4 samples overlap; not all")


def test_the_data_of_bases_counts_and_a_base_of_unknown_data_is_named(platform: Platform, admin: Actor) -> None:
    corpus, pairs = uploaded(platform, Kind.DATASET, "corpus"), uploaded(platform, Kind.DATASET, "pairs")
    imported, base, tuned = (uploaded(platform, Kind.MODEL, name) for name in ("imported", "base", "tuned"))
    edges: list[tuple[UUID, UUID, Role]] = [
        (corpus.id, base.id, Role.TRAINED_ON),
        (imported.id, base.id, Role.INITIALIZED_FROM),
        (base.id, tuned.id, Role.FINE_TUNED_FROM),
        (pairs.id, tuned.id, Role.TRAINED_ON),
    ]
    with platform.transaction(admin) as tx:
        for parent, child, role in edges:
            lineage.record(tx, parent=parent, child=child, role=role)
    with platform.transaction(admin) as tx:
        training = runs.training_of(tx, tuned.id)
        alone = runs.training_of(tx, imported.id)
    assert {each.name for each in training.sources} == {"corpus", "pairs"}
    assert training.unknown == (f"imported {imported.version}",)
    assert alone == Training(unknown=training.unknown)
