"""The scan for personal data against Presidio's BatchAnalyzerEngine: `python benchmarks/pii_scan.py [--texts 1500]`.

The same texts, the same recognizers (ours, in Presidio's registry), one process. Rows per CPU second, with the language
model and with patterns only, medians of interleaved rounds; the findings must be identical or the run fails. Patterns
only run on tickets that all hold personal data, and on a mix where one in ten does, full of numbers that are none.
Beside it, recall and precision per type on labelled texts, for Presidio's stock recognizers and for ours.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import polars as pl
from corpora.sentences import sentences
from corpora.tickets import Label, Ticket, tickets
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, LocalRecognizer, RecognizerRegistry, RecognizerResult
from presidio_analyzer.nlp_engine import NerModelConfiguration, NoOpNlpEngine, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import SpacyRecognizer

from llmops_resources.checks.cells import CellScan
from llmops_resources.checks.hits import Hit, merged
from llmops_resources.checks.ner import IGNORED_LABELS, EntityReader, load_engine, readable_by_model
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.recognizers import pattern_rules
from llmops_resources.checks.rules import Contextual
from llmops_resources.checks.scan import PatternScan

OPTIONS = CheckOptions()
BATCH = 32
HARD, SPARSE = "every text with personal data", "one text in ten with personal data"
PROMISES = {
    f"patterns only, {HARD}": 5.0,
    f"patterns only, {SPARSE}": 5.0,
    "language model and patterns": 1.8,
}
Findings = list[list[tuple[str, int, int, float]]]


def canonical(rows: Sequence[Sequence[Hit | RecognizerResult]]) -> Findings:
    """Findings of each row in an order of their own, so that equal ones compare equal."""
    return [
        sorted((h.entity if isinstance(h, Hit) else h.entity_type, h.start, h.end, round(h.score, 6)) for h in row)
        for row in rows
    ]


def ours(texts: list[str], scan: PatternScan, reader: EntityReader | None) -> list[list[Hit]]:
    """What the platform finds: patterns on distinct texts, entities where a model is given."""
    distinct = list(dict.fromkeys(texts))
    found = scan.scan(pl.Series(distinct))
    hits = [found.get(index, []) for index in range(len(distinct))]
    if reader is not None:
        for index, entities in enumerate(reader.read(distinct)):
            hits[index] = merged([*hits[index], *(Hit(*entity) for entity in entities)])
    of = dict(zip(distinct, hits, strict=True))
    return [of[text] for text in texts]


class OurSearch(LocalRecognizer):
    """One of our recognizers that searches in Presidio's engine as it does in our scan, the faster of its two ways."""

    def __init__(self, of: Contextual) -> None:
        self._of = of
        super().__init__(of.supported_entities, name=of.name)

    def load(self) -> None:
        """Nothing to load."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[RecognizerResult]:  # noqa: ARG002
        """What our scan would find, context included."""
        spans = self._of.find(text, named=False, least=OPTIONS.min_score)
        return [RecognizerResult(self.supported_entities[0], *span) for span in spans]


def presidio(
    nlp: SpacyNlpEngine | None, *, our_search: bool = False
) -> Callable[[list[str]], list[list[RecognizerResult]]]:
    """Presidio's engine with our recognizers, as its documentation builds it."""
    recognizers = [rule.recognizer for rule in pattern_rules(OPTIONS.phone_regions)]
    registry = RecognizerRegistry([OurSearch(r) for r in recognizers] if our_search else recognizers)
    if nlp is not None:
        registry.add_nlp_recognizer(nlp)
    none = NoOpNlpEngine([{"lang_code": "en", "model_name": "none"}])
    engine = AnalyzerEngine(registry=registry, nlp_engine=nlp or none)
    batch = BatchAnalyzerEngine(engine)
    return lambda texts: batch.analyze_iterator(texts, "en", batch_size=BATCH, score_threshold=OPTIONS.min_score)


def stock_nlp() -> SpacyNlpEngine:
    """The language model as Presidio loads it by itself."""
    labels = NerModelConfiguration(labels_to_ignore=list(IGNORED_LABELS))
    nlp = SpacyNlpEngine([{"lang_code": "en", "model_name": OPTIONS.spacy_model}], labels)
    nlp.load()
    return nlp


def compare(name: str, texts: list[str], theirs: Callable[..., Any], fresh: Callable[..., Any], rounds: int) -> bool:
    """Interleaved rounds; prints the figures, answers whether the findings are identical.

    Each of our rounds is made by `fresh`, so that none knows the texts of the one before.
    """
    theirs(texts[:BATCH])
    fresh()(texts[:BATCH])
    seconds: dict[str, list[float]] = {"presidio": [], "ours": []}
    found: dict[str, Findings] = {}
    for _ in range(rounds):
        for who, run in (("presidio", theirs), ("ours", fresh())):
            began = time.process_time()
            result = run(texts)
            seconds[who].append(time.process_time() - began)
            found[who] = canonical(result)
    rates = {who: len(texts) / statistics.median(spent) for who, spent in seconds.items()}
    ratio, promise = rates["ours"] / rates["presidio"], PROMISES.get(name)
    kept = "no promise" if promise is None else f"promise {promise:g}: {'kept' if ratio >= promise else 'NOT KEPT'}"
    differing = sum(a != b for a, b in zip(found["presidio"], found["ours"], strict=True))
    print(
        f"{name}: {rates['ours']:.0f} rows per CPU second, Presidio {rates['presidio']:.0f}, ratio {ratio:.2f} "
        f"({kept}); {sum(map(len, found['ours']))} findings in {len(texts)} rows, {differing} rows differ"
    )
    return not differing


def recall_and_precision(labelled: list[Ticket], found: Findings) -> dict[str, tuple[int, int, int, int]]:
    """Per type: labels, labels overlapped by a finding of the type, findings, findings that overlap such a label."""
    labels, hit, findings, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for ticket, row in zip(labelled, found, strict=True):
        for label in ticket.labels:
            labels[label.type] += 1
            hit[label.type] += any(t == label.type and s < label.end and label.start < e for t, s, e, _ in row)
        for kind, start, end, _ in row:
            findings[kind] += 1
            right[kind] += any(kind == x.type and start < x.end and x.start < end for x in ticket.labels)
    return {kind: (labels[kind], hit[kind], findings[kind], right[kind]) for kind in sorted(labels)}


def as_reported(texts: list[str], reader: EntityReader) -> list[list[Hit]]:
    """What a report tells: patterns on texts made plain, weaker overlaps left out, and what the model says."""
    cells = CellScan(PatternScan(pattern_rules(OPTIONS.phone_regions), OPTIONS.min_score))
    found: dict[str, list[Hit]] = {text: [] for text in texts}
    for hit, text, _, _ in cells.hits(pl.Series("text", texts), nested=False):
        found[text].append(hit)
    readable = [text for text in texts if readable_by_model(text)]
    for text, entities in zip(readable, reader.read(readable), strict=True):
        known = [hit for hit in found[text] if hit.entity in SpacyRecognizer.ENTITIES]
        found[text] += [
            hit
            for hit in (Hit(*entity) for entity in entities)
            if not any(k.entity == hit.entity and k.start < hit.end and hit.start < k.end for k in known)
        ]
    return [found[text] for text in texts]


def print_quality(title: str, labelled: list[Ticket], reader: EntityReader, nlp: SpacyNlpEngine) -> None:
    """A Markdown table of both."""
    texts = [ticket.text for ticket in labelled]
    settled = canonical(as_reported(texts, reader))
    logging.getLogger("tldextract").setLevel(logging.CRITICAL)  # Presidio's mail recognizer asks for a list on the net
    stock = BatchAnalyzerEngine(AnalyzerEngine(nlp_engine=nlp))
    theirs = canonical(stock.analyze_iterator(texts, "en", batch_size=BATCH, score_threshold=0.35))
    tables = [recall_and_precision(labelled, found) for found in (theirs, settled)]
    print(f"\n{title} ({len(texts)} texts; overlap of the same type)\n")
    print("| type | labels | stock recall | ours | stock precision | ours |\n|---|---|---|---|---|---|")
    for kind in tables[0]:
        cells = []
        for first in (0, 2):
            for table in tables:
                of, good = table[kind][first : first + 2]
                cells.append(f"{good / of:.3f}" if of else "-")
        print(f"| {kind} | {tables[0][kind][0]} | {' | '.join(cells)} |")


def read_labelled(path: Path) -> list[Ticket]:
    """A set of somebody else's, as presidio-evaluator makes it; places and domains under the names they have here."""
    names = {"GPE": "LOCATION", "STREET_ADDRESS": "LOCATION", "DOMAIN_NAME": "URL"}
    return [
        Ticket(text, tuple(Label(names.get(kind, kind), start, end) for kind, start, end in spans), False)
        for text, spans in json.loads(path.read_text(encoding="utf-8"))
    ]


def main() -> None:
    """Prints the figures; exit status 1 when findings differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--labelled", type=Path, help="another set: JSON, [[text, [[type, start, end], …]], …]")
    parser.add_argument("--patterns-only", action="store_true", help="nothing that needs the language model")
    arguments = parser.parse_args()
    mixed = [ticket.text for ticket in tickets(arguments.texts, 1)]
    sparse = [ticket.text for ticket in tickets(arguments.texts, 4, personal_share=0.1)]
    patterns, lent, rounds = presidio(None), presidio(None, our_search=True), arguments.rounds

    def alone(reader: EntityReader | None = None) -> Callable[[list[str]], list[list[Hit]]]:
        scan = PatternScan(pattern_rules(OPTIONS.phone_regions), OPTIONS.min_score)
        scan.scan(pl.Series(["warm"]))
        return partial(ours, scan=scan, reader=reader)

    same = [
        compare(f"patterns only, {HARD}", mixed, patterns, alone, rounds),
        compare(f"patterns only, {SPARSE}", sparse, patterns, alone, rounds),
        compare(f"the same with our searches in Presidio's engine too, {HARD}", mixed, lent, alone, rounds),
        compare(f"the same with our searches in Presidio's engine too, {SPARSE}", sparse, lent, alone, rounds),
    ]
    if not arguments.patterns_only:
        nlp, reader = stock_nlp(), EntityReader(load_engine(OPTIONS.spacy_model))
        english = [text for text in mixed if readable_by_model(text)]
        same.append(compare("language model and patterns", english, presidio(nlp), partial(alone, reader), rounds))
        print(f"in stages: {reader.staged}; {reader.reruns} texts read again for a sentence start inside an entity")
        print_quality("English sentences", sentences(1_500, 5), reader, nlp)
        print_quality("English tickets", tickets(arguments.texts, 2, korean_share=0), reader, nlp)
        print_quality("Korean tickets", tickets(arguments.texts // 2, 3, korean_share=1), reader, nlp)
        if arguments.labelled:
            print_quality(arguments.labelled.name, read_labelled(arguments.labelled), reader, nlp)
    if not all(same):
        sys.exit("the findings are not identical")


if __name__ == "__main__":
    main()
