"""The shape of a new model: two dials are enough, the rest follows and is written down."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from llmops_resources.errors import FieldProblem, field_problem
from llmops_resources.values import Value

SPECIAL_TOKENS = ("<|endoftext|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)  # every byte, so that no text is unknown, and the special tokens
_HEAD_SIZES = (64, 32, 16, 8)


class Architecture(Value):
    """A Llama-style decoder with tied embeddings. `hidden_size` and `layers` are the dials, the rest follows.

    Sizes are in units (neurons, heads, tokens). Missing: `heads` so that a head has 64 units (fewer in small models),
    `intermediate_size` 3 x hidden.
    """

    hidden_size: Annotated[int, Field(ge=8, le=32_768)]
    layers: Annotated[int, Field(ge=1, le=256)]
    heads: Annotated[int, Field(ge=1, le=1_024)]
    intermediate_size: Annotated[int, Field(ge=8, le=262_144)]
    vocab_size: Annotated[int, Field(ge=SMALLEST_VOCABULARY, le=262_144)] = 2048
    context_length: Annotated[int, Field(ge=16, le=131_072)] = 256

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, data: Any) -> Any:
        hidden = _either(data, "hidden_size")
        if not isinstance(data, Mapping) or not isinstance(hidden, int) or hidden < 1:
            return data
        derived = dict(data)
        if _either(data, "heads") is None:
            size = next((size for size in _HEAD_SIZES if hidden % size == 0 and hidden // size >= 2), hidden)
            derived["heads"] = max(hidden // size, 1)
        if _either(data, "intermediate_size") is None:
            derived["intermediate_size"] = 3 * hidden
        return derived


def parameter_count(architecture: Architecture) -> int:
    """Trainable parameters of the decoder: tied embeddings, no biases, two norms a layer and a final one."""
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden
    return architecture.vocab_size * hidden + architecture.layers * layer + hidden


def inconsistencies(architecture: Architecture) -> list[FieldProblem]:
    """What no model can be built of, with the way out."""
    hidden, heads = architecture.hidden_size, architecture.heads
    path = "hyperparameters.architecture.heads"
    if hidden % heads:
        problem = f"{heads} heads do not divide {hidden} hidden units"
        return [field_problem(path, problem, "use a divisor of hiddenSize")]
    if (hidden // heads) % 2:
        remedy = "choose heads so that hiddenSize / heads is even"
        return [field_problem(path, f"rotary positions need an even head size, not {hidden // heads}", remedy)]
    return []


def _either(data: Any, name: str) -> Any:
    """A field of raw input under its snake_case or its camelCase name."""
    return data.get(name, data.get(to_camel(name))) if isinstance(data, Mapping) else None
