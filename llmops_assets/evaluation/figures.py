"""What answers score: per sample, over all of them with intervals, and by which scorers. No model, no torch."""

import importlib.metadata
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmops_resources.evaluation.estimates import Estimate, bootstrap, bootstrap_totals
from llmops_resources.evaluation.scorers import answers, labels, overlap, rouge
from llmops_resources.evaluation.suite import LOSSES, MetricName, Suite, Tokenization

#: Without a figure of one sample.
CORPUS = frozenset({MetricName.BLEU, MetricName.CHRF, MetricName.MACRO_F1, MetricName.MICRO_F1})
Loss = tuple[float, int]  # nats over all tokens of the expected answer, and their number


def result(
    suite: Suite, chosen: Sequence[tuple[int, Any]], texts: Sequence[str | None], losses: Sequence[Loss | None]
) -> dict[str, Any]:
    """Per sample its scores, and over the scored samples the figures with their intervals.

    `chosen` are (row number, (prompt, expected answer)), `texts` the answers to them (None: the model could not be
    asked), `losses` those of the expected answers, or nothing where no metric needs them.
    """
    samples: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    for at, ((number, (prompt, wanted)), text) in enumerate(zip(chosen, texts, strict=True)):
        scores: dict[str, float] = {}
        sample = {"index": number, "input": prompt or "", "expected": wanted or "", "actual": text, "scores": scores}
        samples.append(sample)
        if not prompt or not wanted:
            continue
        if text is not None:
            answered.append(sample)
            scores |= {name.value: value for name, value in score_one(suite, text, wanted).items()}
        loss = losses[at] if LOSSES & set(suite.metrics) else None
        if loss is not None:
            over = {MetricName.PERPLEXITY: loss[1], MetricName.BYTE_PERPLEXITY: _bytes(wanted)}
            scores |= {name.value: perplexity(loss[0], n) for name, n in over.items() if name in suite.metrics and n}
    figures = {metric: _figure(metric, suite, samples, answered, losses) for metric in suite.metrics}
    together = {s["index"] for s in answered} if CORPUS & set(suite.metrics) else set()
    scored = sum(bool(s["scores"]) or s["index"] in together for s in samples)
    return {
        "metrics": {name.value: figure.json_dict() for name, figure in figures.items() if figure is not None},
        "samples": samples,
        "counts": {"total": len(samples), "scored": scored, "unscored": len(samples) - scored},
    }


def score_one(suite: Suite, actual: str, expected: str) -> dict[MetricName, float]:
    """The scores of one answer by those metrics of the suite that one answer has."""
    asked, scores = set(suite.metrics), dict[MetricName, float]()
    if MetricName.EXACT_MATCH in asked:
        scores[MetricName.EXACT_MATCH] = answers.exact_match(actual, expected, suite.tokenization)
    if MetricName.F1 in asked:
        scores[MetricName.F1] = answers.f1(actual, expected, suite.tokenization)
    if MetricName.ACCURACY in asked:
        scores[MetricName.ACCURACY] = float(answers.label(actual) == answers.label(expected))
    if MetricName.ANSWER_LENGTH in asked:
        scores[MetricName.ANSWER_LENGTH] = float(answers.length(actual))
    if MetricName.REFUSAL_RATE in asked:
        scores[MetricName.REFUSAL_RATE] = float(answers.is_refusal(actual))
    if asked & set(rouge.TYPES):
        found = rouge.rouge(actual, expected, suite.tokenization)
        scores |= {kind: value for kind, value in found.items() if kind in asked}
    if MetricName.NER_F1 in asked and labels.is_tag_sequence(expected):
        scores[MetricName.NER_F1] = labels.entity_f1(*labels.entities(actual, expected))
    return scores


def perplexity(loss: float, units: float) -> float:
    """exp of the mean loss a token, or a byte; of totals over all answers, so that long answers weigh more."""
    return math.exp(min(loss / units, 50.0))


def _bytes(answer: str) -> int:
    return len(answer.strip().encode())


def signatures(suite: Suite) -> dict[str, str]:
    """How each metric of the suite is computed: library, version and settings. Equal signatures compare."""
    kind = suite.tokenization
    squad = "SQuAD v1.1 words" if kind is Tokenization.WORDS else "KorQuAD v1.0 characters"
    as_rouge = f"rouge-score|{_version('rouge-score')}|fmeasure|stemmer:no|tok:unicode-{kind}"
    seqeval = f"seqeval|{_version('seqeval')}|mode:strict|scheme:IOB2|average:micro"
    window = "; beyond the context in windows half a context apart, each token once"
    known = {
        MetricName.EXACT_MATCH: f"{squad}, normalized",
        MetricName.F1: f"{squad}, overlap",
        MetricName.BLEU: overlap.bleu_signature(kind),
        MetricName.CHRF: overlap.chrf_signature(),
        MetricName.PERPLEXITY: "exp of the mean loss a token of the expected answer and its end, given the prompt"
        + window,
        MetricName.BYTE_PERPLEXITY: "exp of the same loss a byte of the expected answer (UTF-8, stripped)" + window,
        MetricName.ACCURACY: "labels equal, case folded, without outer punctuation",
        MetricName.MACRO_F1: "F1 over the references' labels|average:macro",
        MetricName.MICRO_F1: "F1 over the references' labels|average:micro",
        MetricName.NER_F1: seqeval,
        MetricName.ANSWER_LENGTH: "characters, NFC, stripped",
        MetricName.REFUSAL_RATE: f"phrases, en and ko|version:{answers.REFUSALS_VERSION}",
        **dict.fromkeys(rouge.TYPES, as_rouge),
    }
    return {metric.value: known[metric] for metric in suite.metrics}


def _figure(
    metric: MetricName,
    suite: Suite,
    samples: Sequence[dict[str, Any]],
    answered: Sequence[dict[str, Any]],
    losses: Sequence[Loss | None],
) -> Estimate | None:
    if metric in CORPUS:
        return _corpus(metric, suite, [s["actual"] for s in answered], [s["expected"] for s in answered])
    if metric is MetricName.NER_F1:
        tagged = [s for s in answered if metric.value in s["scores"]]
        return labels.ner_f1([labels.entities(s["actual"], s["expected"]) for s in tagged], suite.seed)
    if metric in LOSSES:
        pairs = [(s, loss) for s, loss in zip(samples, losses, strict=True) if metric.value in s["scores"] and loss]
        per_byte = metric is MetricName.BYTE_PERPLEXITY
        rows = [(loss[0], _bytes(s["expected"]) if per_byte else loss[1]) for s, loss in pairs]
        return bootstrap_totals(np.reshape(rows, (-1, 2)), lambda t: perplexity(float(t[0]), float(t[1])), suite.seed)
    return bootstrap([sample["scores"].get(metric.value) for sample in samples], suite.seed)


def _corpus(metric: MetricName, suite: Suite, actual: list[str], expected: list[str]) -> Estimate | None:
    if metric is MetricName.BLEU:
        return overlap.bleu(actual, expected, suite.tokenization, suite.seed)
    others = {
        MetricName.CHRF: overlap.chrf,
        MetricName.MACRO_F1: labels.macro_f1,
        MetricName.MICRO_F1: labels.micro_f1,
    }
    return others[metric](actual, expected, suite.seed)


def _version(package: str) -> str:
    return importlib.metadata.version(package)
