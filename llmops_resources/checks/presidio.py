"""Presidio's classes, without the deep-learning libraries that it and spaCy import wherever they are installed.

No recognizer here and no plain spaCy pipeline uses them, and they are four fifths of the CPU seconds that importing
Presidio takes, which every check of an upload would pay. A spaCy pipeline of transformers needs torch: where an add-on
for such pipelines is installed, torch is left alone.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

NEEDS_TORCH: Final = ("spacy_transformers", "spacy_curated_transformers")


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Whoever imports one of the modules meanwhile is told that it is not installed; those imported before stay."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # how the import system spells: not to be found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with absent("transformers", *([] if any(map(find_spec, NEEDS_TORCH)) else ["torch"])):
    from presidio_analyzer import EntityRecognizer, LocalRecognizer, Pattern, PatternRecognizer, RecognizerResult
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import IbanRecognizer

__all__ = [
    "EntityRecognizer",
    "IbanRecognizer",
    "LocalRecognizer",
    "NerModelConfiguration",
    "Pattern",
    "PatternRecognizer",
    "RecognizerResult",
    "SpacyNlpEngine",
]
