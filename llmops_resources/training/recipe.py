"""A run is one complete, typed, frozen recipe: few dials are set by a person, the rest is derived and written down.

The digest names the recipe's content; the same recipe, data and machine give the same model.
"""

import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel, to_snake

from llmops_resources.errors import FieldProblem, ValidationFailed, field_problem
from llmops_resources.values import Value, sha256_of

SPECIAL_TOKENS = ("<|endoftext|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)  # every byte, so that no text is unknown, and the special tokens
_HEAD_SIZES = (64, 32, 16, 8)


class JobType(StrEnum):
    """What a training program does; `distributed` is a way of running one of these and not a fourth."""

    FROM_SCRATCH = "from_scratch"
    PRETRAIN = "pretrain"
    FINETUNE = "finetune"


class OptimizerName(StrEnum):
    """`muon`: Muon for the weight matrices and AdamW for the rest. `adamw`: AdamW for everything."""

    MUON = "muon"
    ADAMW = "adamw"


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


class Recipe(Value):
    """Everything that decides the result of a training run, apart from the data and the base model."""

    job_type: JobType
    architecture: Architecture | None = None
    text_column: Annotated[str, Field(min_length=1)] = "text"
    prompt_column: Annotated[str, Field(min_length=1)] = "question"
    answer_column: Annotated[str, Field(min_length=1)] = "answer"
    epochs: Annotated[float, Field(gt=0, le=1_000)]  # passes over the training split
    max_tokens: Annotated[int, Field(ge=1)] | None = None  # through the model; stops before `epochs` are over
    batch_size: Annotated[int, Field(ge=1, le=65_536)]  # sequences a step
    learning_rate: Annotated[float, Field(gt=0, le=1)]  # the peak; Muon's for matrices when Muon is used
    adamw_learning_rate: Annotated[float, Field(gt=0, le=1)]  # the peak of what AdamW trains
    optimizer: OptimizerName = OptimizerName.MUON
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    gradient_clip: Annotated[float, Field(gt=0, le=1_000)] = 1.0  # largest norm of all gradients together
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05  # of the steps; a cosine to a tenth of the peak follows
    evaluation_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.02  # of the rows, held out and never trained on
    evaluations: Annotated[int, Field(ge=1, le=1_000)] = 4  # during training, the last one at the end
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    use_gpu: bool = False

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the canonical JSON of the whole recipe."""
        return sha256_of(self.json_dict())

    @classmethod
    def from_hyperparameters(cls, job_type: str, hyperparameters: Mapping[str, Any], use_gpu: bool) -> "Recipe":
        """The complete recipe for what a person has set, in camelCase or snake_case.

        Raises:
            ValidationFailed: with every problem, under paths such as `hyperparameters.architecture.hiddenSize`.
        """
        if job_type not in set(JobType):
            known = ", ".join(JobType)
            problem = field_problem("jobType", f"{job_type!r} is not a kind of training", f"use one of: {known}")
            raise ValidationFailed("the training recipe is not valid", details=[problem])
        kind = JobType(job_type)
        given = {to_snake(str(name)): value for name, value in hyperparameters.items() if value is not None}
        problems = _misplaced(kind, given)
        if kind is JobType.FINETUNE:
            given.pop("architecture", None)
        try:
            recipe = cls.model_validate(_defaults(kind, given) | given | {"job_type": kind, "use_gpu": use_gpu})
        except ValidationError as error:
            # What is derived from a field that is itself wrong is missing too: only the cause is worth saying.
            entries = [e for e in error.errors(include_url=False) if not (e["type"] == "missing" and _is_derived(e))]
            problems += [_as_field_problem(entry) for entry in entries]
        else:
            problems += _inconsistent(recipe.architecture) if recipe.architecture else []
            if not problems:
                return recipe
        message = f"the training recipe is not valid: {problems[0]['path']}: {problems[0]['problem']}"
        raise ValidationFailed(message, remedy=problems[0]["remedy"], details=problems)


def parameter_count(architecture: Architecture) -> int:
    """Trainable parameters of the decoder: tied embeddings, no biases, two norms a layer and a final one."""
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden
    return architecture.vocab_size * hidden + architecture.layers * layer + hidden


def _defaults(kind: JobType, given: Mapping[str, Any]) -> dict[str, Any]:
    muon = given.get("optimizer", OptimizerName.MUON) == OptimizerName.MUON
    peak = given.get("learning_rate", 0.01 if muon else 3e-3)
    finetune = kind is JobType.FINETUNE
    return {
        "epochs": 3 if finetune else 1,
        "batch_size": 16 if finetune else 8,
        "learning_rate": peak,
        # Embeddings and norms take AdamW's usual rate, well below the one Muon's normalized steps need.
        "adamw_learning_rate": peak * 0.3 if muon and isinstance(peak, int | float) else peak,
    }


def _misplaced(kind: JobType, given: Mapping[str, Any]) -> list[FieldProblem]:
    path = "hyperparameters.architecture"
    if kind is JobType.FINETUNE and "architecture" in given:
        return [field_problem(path, "a fine-tuned model has the architecture of its base model", "leave it out")]
    if kind is not JobType.FINETUNE and "architecture" not in given:
        remedy = 'give at least {"hiddenSize": …, "layers": …}'
        return [field_problem(path, f"{kind.value} starts from no model and needs an architecture", remedy)]
    return []


def _inconsistent(architecture: Architecture) -> list[FieldProblem]:
    hidden, heads = architecture.hidden_size, architecture.heads
    path = "hyperparameters.architecture.heads"
    if hidden % heads:
        problem = f"{heads} heads do not divide {hidden} hidden units"
        return [field_problem(path, problem, "use a divisor of hiddenSize")]
    if (hidden // heads) % 2:
        remedy = "choose heads so that hiddenSize / heads is even"
        return [field_problem(path, f"rotary positions need an even head size, not {hidden // heads}", remedy)]
    return []


def _is_derived(entry: Mapping[str, Any]) -> bool:
    return to_snake(str(entry["loc"][-1])) in {"heads", "intermediate_size"}


def _as_field_problem(entry: Mapping[str, Any]) -> FieldProblem:
    """One Pydantic error as a path in the request, a sentence, and a remedy."""
    names = [to_camel(str(part)) for part in entry["loc"]]
    path = ".".join(["hyperparameters", *names])
    if entry["type"] == "extra_forbidden":
        owner = Architecture if names[:1] == ["architecture"] else Recipe
        known = sorted(to_camel(name) for name in owner.model_fields if name not in {"job_type", "use_gpu"})
        close = difflib.get_close_matches(names[-1], known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"use one of: {', '.join(known)}"
        return field_problem(path, "there is no such hyperparameter", remedy)
    if entry["type"] == "missing":
        return field_problem(path, "is missing", "give it a value")
    return field_problem(path, f"{entry['msg']}, got {entry['input']!r}"[:300], "give a value in the stated range")


def _either(data: Any, name: str) -> Any:
    """A field of raw input under its snake_case or its camelCase name."""
    return data.get(name, data.get(to_camel(name))) if isinstance(data, Mapping) else None
