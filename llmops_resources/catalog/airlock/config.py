"""config.json: what the model says about itself, in numbers that the weights must bear out."""

import re
from collections.abc import Iterable
from typing import Any, Final

from llmops_resources.catalog.airlock.names import CONFIG
from llmops_resources.catalog.airlock.report import Problems, shown
from llmops_resources.catalog.airlock.safetensors import FLOATS, Tensor
from llmops_resources.catalog.airlock.strict_json import whole
from llmops_resources.values import Value

#: How families of models spell the same size.
_HIDDEN: Final = ("hidden_size", "n_embd", "d_model", "dim")
_LAYERS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS: Final = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_CONTEXT: Final = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")
#: Models whose embedding is narrower than their layers say how wide it is.
_EMBEDDING_WIDTHS: Final = (*_HIDDEN, "embedding_size", "word_embed_proj_dim")
_LARGEST: Final = {"hidden": 1_000_000, "layers": 10_000, "heads": 10_000, "context": 100_000_000, "vocab": 10_000_000}
_EMBEDDING: Final = re.compile(
    r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|tok_embeddings|shared|embeddings)\.weight$"
)
_LAYER: Final = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.(\d{1,5})\.")
_TOKEN_IDS: Final = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "decoder_start_token_id")
_CODE_KEYS: Final = ("auto_map", "custom_pipelines")


class Architecture(Value):
    """What config.json says of a language model; sizes that it leaves out are None."""

    model_type: str
    architectures: tuple[str, ...]
    vocab_size: int
    hidden_size: int
    layers: int | None
    heads: int | None
    context_length: int | None
    embedding_widths: frozenset[int]


def read_architecture(config: dict[str, Any], problems: Problems) -> Architecture | None:
    """The architecture, or None when config.json lacks what the weights are compared with."""
    before = problems.total
    refuse_code(CONFIG, config, problems)
    model_type, names = config.get("model_type"), config.get("architectures")
    if not isinstance(model_type, str) or not model_type.isprintable() or not 0 < len(model_type) <= 100:
        problems.add(CONFIG, "has no model_type", "Use the config.json that save_pretrained writes.")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n.isidentifier() for n in names):
        problems.add(CONFIG, "has no list of architectures", "Use the config.json that save_pretrained writes.")
    inner = config.get("text_config")
    sizes = {**config, **inner} if isinstance(inner, dict) else config
    vocab, hidden = _size(sizes, ("vocab_size",), "vocab", problems), _size(sizes, _HIDDEN, "hidden", problems)
    layers, heads = _size(sizes, _LAYERS, "layers", problems), _size(sizes, _HEADS, "heads", problems)
    context = _size(sizes, _CONTEXT, "context", problems)
    for value, key in ((vocab, "vocab_size"), (hidden, "hidden_size")):
        if value is None and problems.total == before:
            problems.add(CONFIG, f"does not say {key}", "Use the config.json that save_pretrained writes.")
    if hidden and heads and hidden % heads and not whole(sizes.get("head_dim")):
        problems.add(CONFIG, f"hidden_size {hidden} cannot be split over {heads} heads", "Check both numbers.")
    if problems.total > before or vocab is None or hidden is None:
        return None
    check_token_ids(CONFIG, sizes, vocab, problems)
    return Architecture(
        model_type=str(model_type),
        architectures=tuple(names or ())[:10],
        vocab_size=vocab,
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        context_length=context,
        embedding_widths=frozenset(sizes[key] for key in _EMBEDDING_WIDTHS if whole(sizes.get(key))),
    )


def check_weights(architecture: Architecture, tensors: dict[str, Tensor], problems: Problems) -> None:
    """The embedding has a row for every token and a column for every unit, and no layer is missing."""
    rows, widths = architecture.vocab_size, architecture.embedding_widths
    named = {name: tensor for name, tensor in tensors.items() if _EMBEDDING.search(name) and tensor.dtype in FLOATS}
    fits = [tensor.shape for tensor in tensors.values() if len(tensor.shape) == 2 and tensor.shape[0] == rows]
    if not any(shape[1] in widths for shape in fits):
        seen = "; ".join(f"{shown(name)} is {list(tensor.shape)}" for name, tensor in list(named.items())[:3])
        problems.add(
            CONFIG,
            f"says vocab_size {rows} and hidden_size {architecture.hidden_size}, but no tensor of the weights has "
            f"that shape ({seen or 'there is no embedding'})",
            "Upload the config.json that belongs to these weights.",
        )
    if architecture.layers is None:
        return
    present = {int(found[1]) for found in map(_LAYER.search, tensors) if found}
    missing = [number for number in range(architecture.layers) if number not in present] if present else []
    if missing:
        listed = ", ".join(map(str, missing[:5])) + ("…" if len(missing) > 5 else "")
        problems.add(
            CONFIG,
            f"says {architecture.layers} layers, but the weights have no layer {listed}",
            "Upload all weights files, and the config.json that belongs to them.",
        )


def check_token_ids(path: str, values: dict[str, Any], vocab_size: int, problems: Problems) -> None:
    """Special tokens that a config names are in the vocabulary."""
    for key in _TOKEN_IDS:
        given = values.get(key)
        for token in given if isinstance(given, list) else [given]:
            if token is None or (key == "pad_token_id" and token == -1):
                continue
            if not whole(token) or not 0 <= token < vocab_size:
                problems.add(path, f"{key} is {shown(token)}, outside the vocabulary of {vocab_size}", "Correct it.")


def refuse_code(path: str, values: Any, problems: Problems) -> None:
    """A problem when any part of a config asks for code that comes with the model."""
    waiting: list[Any] = [values]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            for key in part.keys() & set(_CODE_KEYS):
                problems.add(
                    path,
                    f"it has {key}: the model needs program code of its own, and the platform runs none",
                    "Use a model whose architecture the runtimes know; then remove this entry.",
                )
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _size(values: dict[str, Any], keys: Iterable[str], what: str, problems: Problems) -> int | None:
    for key in keys:
        value = values.get(key)
        if value is None:
            continue
        if whole(value) and 1 <= value <= _LARGEST[what]:
            return int(value)
        problems.add(CONFIG, f"{key} is {shown(value)}", f"It is a whole number from 1 to {_LARGEST[what]:,}.")
        return None
    return None
