"""Scores of 100,000 pairs beside the reference libraries called directly: equal to the last digit, and how long each.

Ours give an interval from 1,000 resamples as well, and that time is in. Each scorer and its reference take turns, and
medians of their CPU seconds are compared. Run `python -m benchmarks.scorers [--pairs 100000] [--rounds 3]`.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import krippendorff
import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from llmops_resources.evaluation import agreement
from llmops_resources.evaluation.agreement import Scale
from llmops_resources.evaluation.estimates import bootstrap
from llmops_resources.evaluation.scorers import labels, overlap
from llmops_resources.evaluation.scorers.rouge import rouge
from llmops_resources.evaluation.suite import MetricName

WORDS: Final = [f"{start}{end}" for start in ("ka", "lo", "mi", "ne", "su", "to") for end in ("ra", "n", "ll", "sta")]
TAGS: Final = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def pairs(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Answers and references: sentences of 5 to 25 words that share about two thirds of them, with comma and stop."""
    rng = random.Random(seed)
    references = [rng.choices(WORDS, k=rng.randint(5, 25)) for _ in range(count)]
    answers = [[word if rng.random() < 0.65 else rng.choice(WORDS) for word in each] for each in references]
    return [_sentence(each) for each in answers], [_sentence(each) for each in references]


def _sentence(words: list[str]) -> str:
    halves = [" ".join(part) for part in (words[: len(words) // 2], words[len(words) // 2 :])]
    return ", ".join(halves).capitalize() + "."


def tagged(count: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Tags found and tags wanted, of sentences of 3 to 15 tokens."""
    rng = random.Random(seed)
    wanted = [rng.choices(TAGS, k=rng.randint(3, 15)) for _ in range(count)]
    return [[tag if rng.random() < 0.8 else rng.choice(TAGS) for tag in each] for each in wanted], wanted


def ratings(count: int, seed: int = 0) -> Any:
    """Four people's judgements from 1 to 5 of so many units, with gaps."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 6, size=count)
    table = np.clip(truth + rng.choice([-1, 0, 0, 0, 1], size=(4, count)), 1, 5).astype(float)
    table[rng.random(table.shape) < 0.2] = np.nan
    return table


def rouge_of_reference(answers: list[str], references: list[str]) -> float:
    """rouge-score called directly: the mean F-measure of ROUGE-L, with 1 and 2 computed beside it."""
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(b, a)["rougeL"].fmeasure for a, b in zip(answers, references, strict=True)]
    return float(np.mean(scores))


def rouge_of_ours(answers: list[str], references: list[str]) -> float:
    """The same figures by our scorer."""
    scores = [rouge(a, b)[MetricName.ROUGE_L] for a, b in zip(answers, references, strict=True)]
    return _value(bootstrap(scores))


def ner_of_ours(found: list[list[str]], wanted: list[list[str]]) -> float:
    """Strict F1 of entities, from answers and references as texts."""
    both = zip(found, wanted, strict=True)
    return _value(labels.ner_f1([labels.entities(" ".join(a), " ".join(b)) for a, b in both]))


def compared(count: int, rounds: int) -> Iterator[tuple[str, float, float, float, float]]:
    """Of each scorer its name, our figure and the reference's, and the median seconds of both."""
    answers, references = pairs(count)
    found, wanted = tagged(count)
    table = ratings(count)
    cases: list[tuple[str, Callable[[], float], Callable[[], float]]] = [
        ("BLEU", lambda: _value(overlap.bleu(answers, references)),
         lambda: BLEU().corpus_score(answers, [references]).score),
        ("chrF", lambda: _value(overlap.chrf(answers, references)),
         lambda: CHRF().corpus_score(answers, [references]).score),
        ("ROUGE-1/2/L", lambda: rouge_of_ours(answers, references), lambda: rouge_of_reference(answers, references)),
        ("NER F1, strict", lambda: ner_of_ours(found, wanted),
         lambda: float(f1_score(wanted, found, mode="strict", scheme=IOB2))),
        ("Krippendorff's alpha", lambda: _value(agreement.krippendorff_alpha(table, Scale.ORDINAL)),
         lambda: float(krippendorff.alpha(reliability_data=table, level_of_measurement="ordinal"))),
    ]  # fmt: skip
    for name, ours, theirs in cases:
        times: list[tuple[float, float]] = []
        for _ in range(rounds):
            our_figure, our_seconds = _timed(ours)
            their_figure, their_seconds = _timed(theirs)
            times.append((our_seconds, their_seconds))
            forget()
        of_ours, of_theirs = (statistics.median(each) for each in zip(*times, strict=True))
        yield name, our_figure, their_figure, of_ours, of_theirs


def forget() -> None:
    """Empty sacreBLEU's caches of tokenized lines, which a second round would find filled."""
    Tokenizer13a.__call__.cache_clear()
    TokenizerRegexp.__call__.cache_clear()


def main() -> None:
    """Print a line for each scorer; exit with 1 when one differs in the digits that are printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    different = False
    print(f"{asked.pairs} pairs; median seconds of CPU of {asked.rounds} rounds, ours with an interval")
    for name, ours, theirs, our_seconds, their_seconds in compared(asked.pairs, asked.rounds):
        different |= f"{ours:.12g}" != f"{theirs:.12g}"
        ratio = their_seconds / our_seconds
        figures = f"{ours:.12g} | {theirs:.12g} | {our_seconds:.3f} s | {their_seconds:.3f} s | {ratio:.2f}×"
        print(f"{name:22} {figures}", flush=True)
    sys.exit(different)


def _value(estimate: Any) -> float:
    assert estimate is not None
    return float(estimate.value)


def _timed(work: Callable[[], float]) -> tuple[float, float]:
    began = time.process_time()
    return work(), time.process_time() - began


if __name__ == "__main__":
    main()
