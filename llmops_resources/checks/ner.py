"""Named entities (people, places, organizations, dates) in a sample of rows, by a spaCy model under Presidio."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_resources.errors import Unavailable

if TYPE_CHECKING:
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

_IGNORED = (
    "CARDINAL", "ORDINAL", "QUANTITY", "MONEY", "PERCENT", "EVENT", "LANGUAGE", "LAW", "PRODUCT", "WORK_OF_ART", "FAC",
)  # fmt: skip
_BATCH = 32


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
    import spacy  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine  # noqa: PLC0415
    from thinc.api import NumpyOps, get_current_ops, set_current_ops  # noqa: PLC0415

    if not (spacy.util.is_package(model) or Path(model).is_dir()):
        raise Unavailable(
            f"The language model {model!r} is not installed",
            remedy="Install it, or set PII_SPACY_MODEL to an installed package or a folder.",
        )
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": model}],
        ner_model_configuration=NerModelConfiguration(labels_to_ignore=list(_IGNORED)),
    )
    previous = get_current_ops()
    try:
        set_current_ops(NumpyOps(use_blis=False))
        engine.load()
    finally:
        set_current_ops(previous)
    pipeline = engine.get_nlp("en")
    for name in ("tagger", "attribute_ruler", "lemmatizer"):  # entities need the parser's sentences, not these
        if name in pipeline.pipe_names:
            pipeline.disable_pipe(name)
    return engine


def entities(engine: "SpacyNlpEngine", texts: Sequence[str]) -> Iterator[list[tuple[str, int, int, float]]]:
    """For each text, in order: the (type, start, end, score) of what the model found."""
    for _, found, *_ in engine.process_batch(list(texts), "en", batch_size=_BATCH):
        yield [
            (span.label_, span.start_char, span.end_char, float(score))
            for span, score in zip(found.entities, found.scores, strict=True)
        ]
