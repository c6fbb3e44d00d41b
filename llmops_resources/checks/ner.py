"""Named entities (people, places, organizations, dates) in a sample of rows, by a spaCy model under Presidio.

Presidio runs the whole spaCy pipeline over every text, of which only the entity recognizer is wanted. Here it runs
alone, in stages that cannot change its answer:

1. The recognizer reads the text without knowing where sentences start. It decides greedily, token by token, and knows
   sentence starts only as a ban: no entity may run across one. So if no entity has several tokens, nothing could have
   been banned and the answer stands. Its decisions are taken for many texts at once (`transitions.py`).
2. Otherwise the parser says where sentences start. If none starts inside an entity, no decision taken was banned, so
   each is still the best of those allowed, and the answer stands.
3. Otherwise the recognizer reads the text again, with the sentence starts.

A pipeline whose recognizer shares its layers with others, or that has unknown components, is run as a whole.
"""

import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmops_resources.checks.transitions import Decoder, Span
from llmops_resources.errors import Unavailable

if TYPE_CHECKING:
    from spacy.tokens import Doc

    from llmops_resources.checks.presidio import SpacyNlpEngine

IGNORED_LABELS = (
    "CARDINAL", "ORDINAL", "QUANTITY", "MONEY", "PERCENT", "EVENT", "LANGUAGE", "LAW", "PRODUCT", "WORK_OF_ART", "FAC",
)  # fmt: skip
_BATCH_CHARACTERS = 50_000
_SPLITTERS = ("parser", "senter", "sentencizer")
# Components that neither set entities nor anything that the entity recognizer reads, besides sentence starts.
_HARMLESS = {"tok2vec", "tagger", "morphologizer", "parser", "senter", "sentencizer", "attribute_ruler", "lemmatizer"}

#: What only the model finds, as Presidio names it.
MODEL_TYPES = frozenset({"PERSON", "LOCATION", "ORGANIZATION", "DATE_TIME", "NRP"})
#: (type, start, end, score)
Entity = tuple[str, int, int, float]


def sample_rows(total: int, size: int, seed: int) -> list[int]:
    """The indices, ascending, of the rows that are read by the model: the same for the same arguments."""
    if size >= total:
        return list(range(total))
    return sorted(random.Random(seed).sample(range(total), size))  # noqa: S311 - reproducible, not secret


def readable_by_model(text: str) -> bool:
    """Whether an English model can say anything about `text`: most of its letters are ASCII."""
    letters = [character for character in text if character.isalpha()]
    return bool(letters) and sum(map(str.isascii, letters)) >= 0.7 * len(letters)


def load_engine(model: str) -> "SpacyNlpEngine":
    """Presidio's spaCy engine with `model` (a package name or a folder). Raises Unavailable when it is not installed.

    The engine would download an absent model, hence the check beforehand. The bundled BLIS does not know recent
    processors and falls back to its slowest kernel, so NumPy does the matrix products (measured 1.15 times faster).
    """
    from llmops_resources.checks.presidio import NerModelConfiguration, SpacyNlpEngine  # noqa: PLC0415  before spaCy

    import spacy  # noqa: PLC0415  isort: skip
    from thinc.api import NumpyOps, get_current_ops, set_current_ops  # noqa: PLC0415

    if not (spacy.util.is_package(model) or Path(model).is_dir()):
        raise Unavailable(
            f"The language model {model!r} is not installed",
            remedy="Install it, or set PII_SPACY_MODEL to an installed package or a folder.",
        )
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": model}],
        ner_model_configuration=NerModelConfiguration(labels_to_ignore=list(IGNORED_LABELS)),
    )
    previous = get_current_ops()
    try:
        set_current_ops(NumpyOps(use_blis=False))
        engine.load()
    finally:
        set_current_ops(previous)
    return engine


class EntityReader:
    """The entities that Presidio's engine finds, for less work. Not safe for several threads."""

    def __init__(self, engine: "SpacyNlpEngine") -> None:
        self._pipeline = engine.get_nlp("en")
        self._labels = engine.ner_model_configuration
        self._decoder = Decoder.of(self._pipeline) if self._stages_apply() else None
        self.reruns = 0  # texts that were read twice, since a sentence starts inside an entity

    @property
    def staged(self) -> bool:
        """Whether the model is read in stages; otherwise the whole pipeline runs."""
        return self._decoder is not None

    def read(self, texts: Sequence[str]) -> Iterator[list[Entity]]:
        """For each text, in order: what the model found, typed and scored as by Presidio. Repeats are read once."""
        found: dict[str, list[Entity]] = {}
        for batch in _batches(list(dict.fromkeys(texts))):
            if self._decoder is None:
                docs = list(self._pipeline.pipe(batch, batch_size=len(batch)))
                spans = [[(span.label_, span.start, span.end) for span in doc.ents] for doc in docs]
            else:
                docs = [self._pipeline.make_doc(text) for text in batch]
                spans = self._staged(self._decoder, docs)
            found |= {text: self._entities(doc, of) for text, doc, of in zip(batch, docs, spans, strict=True)}
        return (found[text] for text in texts)

    def _stages_apply(self) -> bool:
        names = self._pipeline.pipe_names
        if "ner" not in names or not set(names) <= _HARMLESS | {"ner"}:
            return False
        recognizer: Any = self._pipeline.get_pipe("ner")
        shares = any("listener" in node.name for node in recognizer.model.walk())
        return not shares and not set(names[names.index("ner") :]) & set(_SPLITTERS)

    def _staged(self, decoder: Decoder, docs: list["Doc"]) -> list[list[Span]]:
        spans = decoder.spans(docs)
        unsure = [i for i, of in enumerate(spans) if any(end - start > 1 for _, start, end in of)]
        split = [docs[i] for i in unsure]
        for splitter in self._splitters:
            split = list(splitter.pipe(split, batch_size=len(split) or 1))
        cut = []
        for index, doc in zip(unsure, split, strict=True):
            inside = (token for _, start, end in spans[index] for token in range(start + 1, end))
            if self._splitters and any(doc[token].is_sent_start for token in inside):
                cut.append((index, doc))
        if cut:
            starts = np.array([token.is_sent_start is True for _, doc in cut for token in doc])
            again = decoder.spans([doc for _, doc in cut], starts)
            for (index, _), of in zip(cut, again, strict=True):
                spans[index] = of
        self.reruns += len(cut)
        return spans

    @cached_property
    def _splitters(self) -> list[Any]:
        names = self._pipeline.pipe_names
        wanted = [name for name in names if name in {*_SPLITTERS, "tok2vec"}]
        return [self._pipeline.get_pipe(name) for name in wanted] if set(wanted) & set(_SPLITTERS) else []

    def _entities(self, doc: "Doc", spans: list[Span]) -> list[Entity]:
        labels: Any = self._labels
        ignored = labels.labels_to_ignore
        typed = []
        for label, start, end in spans:
            kind = labels.model_to_presidio_entity_mapping.get(label, label)
            if label not in ignored and kind not in ignored:
                factor = labels.low_confidence_score_multiplier if kind in labels.low_score_entity_names else 1
                last = doc[end - 1]
                typed.append((kind, doc[start].idx, last.idx + len(last), labels.default_score * factor))
        return typed


def _batches(texts: list[str]) -> Iterator[list[str]]:
    """The texts, shortest first: the parser steps through a batch until its longest text ends."""
    batch: list[str] = []
    size = 0
    for text in sorted(texts, key=len):
        batch.append(text)
        size += len(text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
