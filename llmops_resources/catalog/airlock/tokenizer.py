"""The tokenizer's files: which tokens there are, and that every one has a row in the model's embedding."""

from typing import Any, Final

from llmops_resources.catalog.airlock.report import Problems, shown
from llmops_resources.catalog.airlock.strict_json import whole
from llmops_resources.values import Value

TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
ADDED: Final = "added_tokens.json"
VOCABULARY: Final = "vocab.json"
_KINDS: Final = frozenset({"BPE", "Unigram", "WordPiece", "WordLevel"})
_OF_MODEL: Final = "Upload the tokenizer that belongs to this model."


class Tokens(Value):
    """What a tokenizer holds: its kind, how many tokens, and the largest id."""

    kind: str
    count: int
    largest: int


def read_tokenizer(data: dict[str, Any], problems: Problems) -> Tokens | None:
    """The tokens of a tokenizer.json, its added ones included."""
    model = data.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), (dict, list)):
        problems.add(TOKENIZER, "has no model with a vocabulary", _OF_MODEL)
        return None
    kind = model.get("type")
    if kind is not None and kind not in _KINDS:
        problems.add(TOKENIZER, f"has the unknown kind {shown(kind)}", f"Known are {', '.join(sorted(_KINDS))}.")
        return None
    vocabulary = model["vocab"]
    ids = list(range(len(vocabulary))) if isinstance(vocabulary, list) else list(vocabulary.values())
    added = data.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        problems.add(TOKENIZER, "its added_tokens are not a list of objects", _OF_MODEL)
        return None
    extra = [token.get("id") for token in added]
    return _tokens(TOKENIZER, str(kind or "BPE"), ids, extra, problems)


def read_vocabulary(path: str, data: dict[str, Any], problems: Problems) -> Tokens | None:
    """The tokens of a vocab.json or an added_tokens.json: an object from token to id."""
    return _tokens(path, "BPE", list(data.values()), [], problems)


def check_added(data: dict[str, Any], vocab_size: int, problems: Problems) -> None:
    """The tokens that tokenizer_config.json adds are in the vocabulary."""
    added = data.get("added_tokens_decoder") or {}
    if not isinstance(added, dict):
        problems.add(TOKENIZER_CONFIG, "its added_tokens_decoder is not an object", _OF_MODEL)
        return
    for number in added:
        if not (number.isascii() and number.isdecimal() and len(number) < 10 and int(number) < vocab_size):
            problem = f"it adds a token with id {shown(number)}, outside the model's vocabulary of {vocab_size}"
            problems.add(TOKENIZER_CONFIG, problem, _OF_MODEL)
            return


def _tokens(path: str, kind: str, ids: list[Any], extra: list[Any], problems: Problems) -> Tokens | None:
    if not ids or not all(whole(number) and 0 <= number < 2**31 for number in (*ids, *extra)):
        problems.add(path, "has no tokens, or a token without a whole number as its id", _OF_MODEL)
        return None
    if len(set(ids)) != len(ids):
        problems.add(path, "gives two tokens the same id", _OF_MODEL)
        return None
    everything = {*ids, *extra}
    return Tokens(kind=kind, count=len(everything), largest=max(everything))
