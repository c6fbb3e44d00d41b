"""What an evaluation measures and how: the content of the evaluation program's `suite.json`."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.values import Value


class MetricName(StrEnum):
    """What an evaluation can measure."""

    EXACT_MATCH = "exact_match"
    F1 = "f1"
    BLEU = "bleu"
    PERPLEXITY = "perplexity"
    BYTE_PERPLEXITY = "byte_perplexity"
    CHRF = "chrf"
    ROUGE_1 = "rouge1"
    ROUGE_2 = "rouge2"
    ROUGE_L = "rougeL"
    ACCURACY = "accuracy"
    MACRO_F1 = "macro_f1"
    MICRO_F1 = "micro_f1"
    NER_F1 = "ner_f1"
    ANSWER_LENGTH = "answer_length"
    REFUSAL_RATE = "refusal_rate"


DEFAULT_METRICS = (MetricName.EXACT_MATCH, MetricName.F1, MetricName.BLEU, MetricName.PERPLEXITY)
#: Figures of how well the model foresees the expected answer; it need not answer for them.
LOSSES = frozenset({MetricName.PERPLEXITY, MetricName.BYTE_PERPLEXITY})


class Tokenization(StrEnum):
    """What counts as a token for exact match, F1, BLEU and ROUGE.

    `words`: as SQuAD and sacreBLEU's 13a. `characters`: as KorQuAD, for languages whose words carry particles.
    """

    WORDS = "words"
    CHARACTERS = "characters"


class Suite(Value):
    """How a model is asked and scored.

    `sample_size` missing means every row. `max_new_tokens` bounds an answer, in tokens.
    """

    prompt_column: Annotated[str, Field(min_length=1)] = "question"
    answer_column: Annotated[str, Field(min_length=1)] = "answer"
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = DEFAULT_METRICS
    tokenization: Tokenization = Tokenization.WORDS
    sample_size: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    max_new_tokens: Annotated[int, Field(ge=1, le=1_024)] = 48


def chosen(names: Iterable[str]) -> tuple[MetricName, ...]:
    """The metrics of these names. Raises ValidationFailed, which lists the known ones."""
    wanted = list(names)
    known = [metric.value for metric in MetricName]
    if unknown := [name for name in wanted if name not in known]:
        remedy = f"Choose among {', '.join(known)}."
        problems = [field_problem("metrics", f"{name!r} is unknown", remedy) for name in unknown]
        raise ValidationFailed("unknown metrics", details=problems)
    return tuple(map(MetricName, wanted))


def stored(suite: Mapping[str, Any]) -> Suite:
    """A suite as a row holds it. Seeds below zero are from before they were refused; no such run has a result."""
    return Suite.model_validate({**suite, "seed": max(0, int(suite.get("seed", 0)))})
