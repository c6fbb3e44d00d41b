"""What a training run needs of memory, estimated before anything is queued, and whether a GPU is large enough for it.

An estimate for Llama-style decoders, in bytes a process: weights and gradients in float32, the optimizer's state
beside them (AdamW two values a parameter, Muon one for the matrices; Kingma & Ba 2015, Jordan 2024), and what the
backward pass keeps (Korthikanti et al. 2022, section 4.1, without recomputation, for attention that does not store its
scores) with the logits, which dominate in models of few layers. Processes that share a model each hold their part of
all but the activations; the layer that is put together at a time is left out. It is meant to be right within a third;
memory that other parts of a process take is `RESERVED`.

A base model is known by what the airlock found in its files (`BaseModel`). With LoRA (Hu et al. 2021) its weights are
there and frozen, and only the adapters have gradients and optimizer state. How long the rows of a data set are is not
known when a job is submitted: fine-tuning is refused for what it needs whatever their length, and the activations are
those of rows that fill the model's context.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, ValidationError
from pydantic.alias_generators import to_camel

from llmops_resources.errors import FieldProblem, field_problem
from llmops_resources.training.architecture import Architecture, parameter_count
from llmops_resources.training.recipe import Lora, OptimizerName, Recipe
from llmops_resources.values import Value

GIB: Final = 1024**3
RESERVED: Final = GIB  # CUDA's context, its libraries' workspaces, fragmentation
#: Bytes of the GPUs that people name in `gpuType`; one that is not here is not judged.
GPU_BYTES: Final = {
    "t4": 16 * GIB, "l4": 24 * GIB, "a10": 24 * GIB, "a10g": 24 * GIB, "rtx4090": 24 * GIB, "v100": 32 * GIB,
    "a100": 80 * GIB, "l40s": 48 * GIB, "a100-40gb": 40 * GIB, "a100-80gb": 80 * GIB, "h100": 80 * GIB,
    "h200": 141 * GIB, "b200": 180 * GIB,
}  # fmt: skip


class MemoryEstimate(Value):
    """Bytes that one process needs, by what needs them; `parameters` counts weights."""

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    reserved: int = RESERVED

    @property
    def total(self) -> int:
        """All of it together."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.reserved

    @property
    def fixed(self) -> int:
        """What is needed however short the texts are."""
        return self.total - self.activations


class BaseModel(Value):
    """What the airlock's evidence says of a model's size; `parameters` counts the elements of its weight files."""

    parameters: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    layers: int = Field(ge=1)
    context_length: int = Field(ge=1)

    @property
    def intermediate_size(self) -> int:
        """The inner width that its parameters leave for its layers, as a Llama-style decoder divides them."""
        hidden = self.hidden_size
        layer = (self.parameters - self.vocab_size * hidden) / self.layers
        return round((layer - 4 * hidden * hidden) / (3 * hidden))


def read_base(summary: Mapping[str, Any]) -> tuple[BaseModel | None, str]:
    """The size of a base model in the airlock's summary of it; or None, and why no estimate can be made."""
    try:
        base = BaseModel.model_validate({name: summary.get(to_camel(name)) for name in BaseModel.model_fields})
    except ValidationError as error:
        missing = ", ".join(dict.fromkeys(to_camel(str(entry["loc"][0])) for entry in error.errors()))
        return None, f"not made: the airlock's evidence of the base model does not say {missing}"
    if base.intermediate_size < 1:
        return None, "not made: the base model's parameters are fewer than a Llama-style decoder of its size has"
    return base, ""


def estimate(recipe: Recipe, architecture: Architecture) -> MemoryEstimate:
    """The need of a run of `recipe` on a new model of `architecture`, all of which is trained."""
    parameters = parameter_count(architecture)
    return _estimate(recipe, architecture, parameters, parameters)


def estimate_finetuning(recipe: Recipe, base: BaseModel) -> MemoryEstimate:
    """The need of fine-tuning `base`, whole or through adapters, with rows that fill its context."""
    return _estimate(recipe, base, base.parameters, _adapters(recipe.lora, base) if recipe.lora else base.parameters)


def too_large(need: MemoryEstimate, gpu_type: str | None) -> list[FieldProblem]:
    """Why a new model does not fit on one GPU of the type; empty when it does, or when its size is not known."""
    there = GPU_BYTES.get((gpu_type or "").lower())
    if there is None or need.total <= there:
        return []
    model = "use a smaller model, jobType distributed with parallelism fsdp over more GPUs, or a larger GPU"
    dials = "use a smaller batchSize, a larger gradientAccumulation, or a shorter contextLength"
    return [_refusal(need, need.total, gpu_type, there, {**_fixed_cures(model), "activations": dials})]


def base_too_large(need: MemoryEstimate, gpu_type: str, recipe: Recipe) -> list[FieldProblem]:
    """Why fine-tuning cannot fit on one GPU of the type even with the shortest rows; empty as for `too_large`."""
    there = GPU_BYTES.get(gpu_type.lower())
    if there is None or need.fixed <= there:
        return []
    ways = "a smaller base model, jobType distributed with parallelism fsdp over more GPUs, or a larger GPU"
    return [_refusal(need, need.fixed, gpu_type, there, _fixed_cures(f"use {'' if recipe.lora else 'lora, '}{ways}"))]


def told(need: MemoryEstimate, gpu_type: str, base: BaseModel | None = None) -> str:
    """The estimate as a sentence for the person who submits; what is not refused and may still not fit is said."""
    parts = {"weights": need.weights, "gradients": need.gradients, "optimizer state": need.optimizer}
    parts |= {"CUDA": need.reserved} if base else {"activations": need.activations, "CUDA": need.reserved}
    listed = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items())
    there = GPU_BYTES.get(gpu_type.lower())
    size = f"{there / GIB:.0f} GiB of {gpu_type}" if there else f"memory of {gpu_type}, whose size is not known"
    if base is None:
        return f"about {need.total / GIB:.1f} GiB a process, of the {size}: {listed}"
    sentence = (
        f"at least {need.fixed / GIB:.1f} GiB a process, of the {size}: {listed}; activations up to "
        f"{need.activations / GIB:,.1f} more with rows of {base.context_length:,} tokens"
    )
    if there and need.total > there:
        sentence += ", which do not fit: use a smaller batchSize or a larger gradientAccumulation for long rows"
    return sentence


def _estimate(recipe: Recipe, shape: Architecture | BaseModel, parameters: int, trained: int) -> MemoryEstimate:
    embeddings = shape.vocab_size * shape.hidden_size
    matrices = max(trained - embeddings, 0) if recipe.optimizer is OptimizerName.MUON else 0
    sharers = recipe.processes if recipe.is_sharded(parameters) else 1
    frozen = parameters if recipe.lora else 0
    return MemoryEstimate(
        parameters=parameters,
        weights=-(-4 * (frozen + trained) // sharers),
        gradients=-(-4 * trained // sharers),
        optimizer=-(-4 * (2 * trained - matrices) // sharers),
        activations=_activations(recipe, shape),
    )


def _adapters(lora: Lora, base: BaseModel) -> int:
    """Parameters of the adapters: `rank` times the two sides of each matrix that gets one.

    Of layers named in `targets` only their number is known; each counts as a square of the model's width.
    """
    hidden, inner = base.hidden_size, base.intermediate_size
    sides = 2 * hidden * len(lora.targets) if lora.targets else 4 * 2 * hidden + 3 * (hidden + inner)
    return lora.rank * sides * base.layers


def _fixed_cures(cure: str) -> dict[str, str]:
    return dict.fromkeys(("weights", "gradients", "optimizer state"), cure)


def _refusal(
    need: MemoryEstimate, needed: int, gpu_type: str | None, there: int, cures: Mapping[str, str]
) -> FieldProblem:
    """`cures`: the remedy by the part that takes most; only its parts are compared."""
    sizes = {
        "optimizer state": need.optimizer, "weights": need.weights, "gradients": need.gradients,
        "activations": need.activations,
    }  # fmt: skip
    largest = max((name for name in sizes if name in cures), key=lambda name: sizes[name])
    problem = (
        f"about {needed / GIB:.0f} GiB are needed a process, most of it for {largest} "
        f"({sizes[largest] / GIB:.0f} GiB), and {gpu_type} has {there / GIB:.0f} GiB"
    )
    return field_problem("resourceProfile.gpuType", problem, cures[largest])


def _activations(recipe: Recipe, shape: Architecture | BaseModel) -> int:
    """Of the largest piece that goes through the model at once."""
    pieces = recipe.processes * recipe.gradient_accumulation
    sequences = -(-recipe.batch_size // pieces)
    tokens = sequences * shape.context_length
    width = 2 if recipe.use_gpu else 4  # bytes a value: bfloat16 on GPUs, float32 elsewhere
    # In mixed precision the residual stream and the norms stay in float32, beside their copies in bfloat16; on an H100
    # 22 widths were taken, and half of everything where the step was compiled.
    kept = 24 if recipe.use_gpu else 16
    layer = tokens * (kept * shape.hidden_size + 4 * shape.intermediate_size) * width
    logits = tokens * shape.vocab_size * 2 * (width + 4)  # and in float32, both with their gradients
    return shape.layers * layer + logits
