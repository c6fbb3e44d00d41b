"""Rules over many texts: exactly the findings of Presidio's engine with the same recognizers, for less work.

A text reaches a recognizer only when the rule's prefilter, run over all texts at once, says that it may match.
"""

from collections.abc import Iterable, Sequence

import polars as pl
from presidio_analyzer import EntityRecognizer, RecognizerResult

from llmops_resources.checks.hits import Hit
from llmops_resources.checks.rules import Rule


class PatternScan:
    """Runs rules; one that runs out of time is left out from then on and named in `given_up`."""

    def __init__(self, rules: Sequence[Rule], min_score: float) -> None:
        self._rules = list(rules)
        self._min_score = min_score
        self.given_up: list[str] = []

    @property
    def entities(self) -> tuple[str, ...]:
        """What is looked for, each type once."""
        return tuple(dict.fromkeys(rule.entity for rule in self._rules))

    def scan(self, texts: pl.Series, column: str = "") -> dict[int, list[Hit]]:
        """The hits of each text that has some, by its index. `column` counts as context of every text."""
        rules = [rule for rule in self._rules if rule.recognizer.name not in self.given_up and rule.reads(column)]
        frame = pl.DataFrame({"text": texts})
        marked = frame.lazy().select(
            pl.col("text").str.contains(rule.prefilter).alias(str(i)) for i, rule in enumerate(rules)
        ).collect()  # fmt: skip
        context = [column] if column else []
        found: dict[int, list[RecognizerResult]] = {}
        for i, rule in enumerate(rules):
            candidates = marked[str(i)].arg_true()
            for index, text in zip(candidates.to_list(), texts.gather(candidates).to_list(), strict=True):
                try:
                    hits = rule.hits(text, context)
                except TimeoutError:
                    self.given_up.append(rule.recognizer.name)
                    break
                if hits:
                    found.setdefault(index, []).extend(hit for hit in hits if hit.score >= self._min_score)
        return {index: merged(found[index]) for index in sorted(found) if found[index]}


def merged(results: Iterable[RecognizerResult]) -> list[Hit]:
    """The results as Presidio's engine would return them: without repeats, surest first."""
    kept = list(results)
    if len(kept) > 1:
        kept = EntityRecognizer.remove_duplicates(kept)
    return [Hit(result.entity_type, result.start, result.end, result.score) for result in kept]
