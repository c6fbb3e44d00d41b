"""Rules over many texts: exactly the findings of Presidio's engine with the same recognizers, for less work.

A text reaches a recognizer only when the rule's prefilter, run over all texts at once, says that it may match.
"""

from collections.abc import Sequence

import polars as pl

from llmops_resources.checks.hits import Hit, merged
from llmops_resources.checks.rules import Rule


class PatternScan:
    """Runs rules; one that runs out of time is left out from then on and named in `given_up`."""

    def __init__(self, rules: Sequence[Rule], min_score: float) -> None:
        self._rules = list(rules)
        self._min_score = min_score
        self._filters: dict[tuple[int, bool], pl.Expr | None] = {}
        self.given_up: list[str] = []

    @property
    def entities(self) -> tuple[str, ...]:
        """What is looked for, each type once."""
        return tuple(dict.fromkeys(rule.entity for rule in self._rules))

    def scan(self, texts: pl.Series, column: str = "") -> dict[int, list[Hit]]:
        """The hits of each text that has some, by its index. `column` counts as context of every text."""
        chosen = [
            (i, rule, bool(column) and rule.recognizer.named_in([column]))
            for i, rule in enumerate(self._rules)
            if rule.recognizer.name not in self.given_up and rule.reads(column)
        ]
        filters = {str(i): self._filter(i, named=named) for i, _, named in chosen}
        frame = pl.DataFrame({"text": texts})
        marked = frame.select(expression.alias(i) for i, expression in filters.items() if expression is not None)
        found: dict[int, list[Hit]] = {}
        for i, rule, named in chosen:
            candidates = marked[str(i)].arg_true() if filters[str(i)] is not None else texts.is_not_null().arg_true()
            for index, text in zip(candidates.to_list(), texts.gather(candidates).to_list(), strict=True):
                try:
                    spans = rule.recognizer.find(text, named=named, least=self._min_score)
                except TimeoutError:
                    self.given_up.append(rule.recognizer.name)
                    break
                if spans:
                    found.setdefault(index, []).extend(Hit(rule.entity, *span) for span in spans)
        return {index: merged(found[index]) for index in sorted(found)}

    def _filter(self, index: int, *, named: bool) -> pl.Expr | None:
        key = index, named
        if key not in self._filters:
            self._filters[key] = self._rules[index].candidates(self._min_score, named=named)
        return self._filters[key]
