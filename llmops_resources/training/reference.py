"""`python -m llmops_resources.training.reference` writes the reference of all dials of a training recipe.

Bounds and defaults are read off the models, so that the page cannot say what the code does not do.
"""

import sys
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from llmops_resources.training.architecture import Architecture
from llmops_resources.training.recipe import NOT_DIALS, JobType, Lora, Recipe
from llmops_resources.values import Value

FILE = Path(__file__).parents[2] / "docs/rooms/training-recipe.md"
#: Defaults that follow from other dials, in words; the two that differ by job type are looked up.
_DERIVED = {
    "heads": "so that a head has 64 units, fewer in small models",
    "intermediateSize": "3 × `hiddenSize`",
    "optimizer": "`muon`, with `lora` `adamw`",
    "learningRate": "0.01 with `muon`, 0.003 with `adamw`",
    "adamwLearningRate": "0.3 × `learningRate` with `muon`, else the same",
}
_MEANING = {
    "architecture": "the shape of a new model (below); only, and then needed, for `from_scratch` and `pretrain`",
    "textColumn": "the column that holds the text, for `from_scratch` and `pretrain`",
    "promptColumn": "the column with the questions, for `finetune`",
    "answerColumn": "the column with the answers, for `finetune`; only they are learned",
    "epochs": "passes over the rows that are trained on",
    "maxTokens": "tokens after which to stop, though `epochs` are not over",
    "batchSize": "sequences a step, over all processes",
    "gradientAccumulation": "pieces that each process cuts its share of a step into; changes memory, not the result",
    "learningRate": "the highest rate: Muon's for weight matrices where it is used",
    "adamwLearningRate": "the highest rate of what AdamW trains",
    "optimizer": "`muon`: Muon for weight matrices and AdamW for the rest; `adamw`: AdamW for everything",
    "weightDecay": "how strongly weights are drawn to zero, as a factor of the rate",
    "gradientClip": "the largest norm of all gradients together",
    "warmupFraction": "the part of all steps in which the rate rises; a cosine to a tenth follows",
    "evaluationFraction": "the part of the rows that is held out and never trained on",
    "evaluations": "how often the held-out rows are looked at, the last time at the end",
    "dropout": "the part of the attention weights that is dropped",
    "seed": "of weights, order and dropout",
    "initialization": "a new model's first weights: `random`; `pretrained_embeddings` takes tokenizer and embeddings "
    "of `modelId`; `custom_weights` its tokenizer and each tensor of the same name and shape",
    "lora": "low-rank adapters instead of all weights (below); only for `finetune`",
    "precision": "`auto`: bfloat16 on a GPU that has it, else float32; `bf16` needs `useGpu`",
    "compile": "`torch.compile`; by itself `true` of a new model on a GPU from 20M parameters of blocks on, twice as "
    "fast on an H100; no gain on a CPU",
    "parallelism": "`auto`: `fsdp` (weights shared out) from a billion parameters on, else `ddp` (a copy each)",
    "packing": "several pairs in one sequence, kept apart; only for `finetune`, where the model can keep them apart",
    "checkpointMinutes": "minutes between checkpoints",
    "checkpointSteps": "steps between checkpoints, instead of minutes",
    "architecture.hiddenSize": "width of the model",
    "architecture.layers": "number of blocks",
    "architecture.heads": "attention heads; a divisor of `hiddenSize` that leaves an even size",
    "architecture.intermediateSize": "width inside a block's feed-forward part",
    "architecture.vocabSize": "tokens that the tokenizer learns",
    "architecture.contextLength": "tokens that the model sees at once",
    "lora.rank": "of each adapter",
    "lora.alpha": "an update is scaled by `alpha` / `rank`",
    "lora.dropout": "in front of each adapter",
    "lora.targets": "names of the linear layers that get one; none means all but the head",
}
_BOUNDS = {
    "minimum": "at least {}", "exclusiveMinimum": "above {}", "maximum": "at most {}", "exclusiveMaximum": "below {}",
    "minLength": "at least {} character",
}  # fmt: skip
_HIDDEN = frozenset(to_camel(name) for name in NOT_DIALS)
_HEAD = """# The training recipe: every dial

Made by `python -m llmops_resources.training.reference` from the models that check a request; a test fails when this
page is not what they say. All dials are optional unless they are called required, and stand in `hyperparameters` of
`POST /training/jobs`, in camelCase or snake_case. A name that does not exist is refused, with the one that was probably
meant. What a dial does to the training is told in [training.md](training.md).
"""


def rendered() -> str:
    """The page in Markdown.

    Raises:
        KeyError: a dial has no sentence in this module that says what it means.
    """
    parts = [_HEAD, "\n", _table(Recipe, "")]
    for title, model, prefix in (("architecture", Architecture, "architecture."), ("lora", Lora, "lora.")):
        parts += [f"\n## `{title}`\n\n", _table(model, prefix)]
    return "".join(parts)


def _table(model: type[Value], prefix: str) -> str:
    schema = model.model_json_schema(by_alias=True)
    names = [name for name in schema["properties"] if name not in _HIDDEN]
    lines = [
        f"| `{name}` | {_type(schema, name)} | {_default(schema, name, prefix)} | {_MEANING[prefix + name]} |"
        for name in names
    ]
    return "\n".join(["| dial | value | default | meaning |", "|---|---|---|---|", *lines]) + "\n"


def _type(schema: dict[str, Any], name: str) -> str:
    """What a value may be, in words: its kind and its bounds, or the words to choose from."""
    found = _plain(schema, schema["properties"][name])
    if "enum" in found:
        return ", ".join(f"`{word}`" for word in found["enum"])
    kind = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`",
            "array": "list of text", "object": "object"}[found["type"]]  # fmt: skip
    bounds = [words.format(f"{found[key]:,}") for key, words in _BOUNDS.items() if key in found]
    return ", ".join([kind, *bounds])


def _plain(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    """A field without the `null` beside it and with its reference followed."""
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    reference = options[0].get("$ref")
    found: dict[str, Any] = schema["$defs"][reference.rsplit("/", 1)[1]] if reference else options[0]
    return found


def _default(schema: dict[str, Any], name: str, prefix: str) -> str:
    if name in {"epochs", "batchSize"} and not prefix:
        return f"{_chosen(JobType.FINETUNE)[name]:g} to fine-tune, else {_chosen(JobType.PRETRAIN)[name]:g}"
    if name in _DERIVED:
        return _DERIVED[name]
    if name in schema.get("required", []):
        return "required"
    default = schema["properties"][name].get("default")
    if default is None or default == []:
        return "none"
    return f"`{str(default).lower()}`" if isinstance(default, bool | str) else f"{default:,}".removesuffix(".0")


def _chosen(kind: JobType) -> dict[str, Any]:
    """A recipe in which nothing was set that need not be."""
    shape = {} if kind is JobType.FINETUNE else {"architecture": {"hiddenSize": 64, "layers": 2}}
    return Recipe.from_hyperparameters(kind, shape, use_gpu=False).json_dict()


def main() -> int:
    """Write the page; with `--check`, only say whether it is fresh (exit status 1 when it is not)."""
    if "--check" in sys.argv:
        return 0 if FILE.exists() and FILE.read_text() == rendered() else 1
    FILE.write_text(rendered())
    return 0


if __name__ == "__main__":
    sys.exit(main())
