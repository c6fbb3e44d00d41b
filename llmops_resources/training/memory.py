"""What a training run needs of memory, estimated before anything is queued, and whether a GPU is large enough for it.

An estimate for Llama-style decoders, in bytes a process: weights and gradients in float32, the optimizer's state
beside them (AdamW two values a parameter, Muon one for the matrices; Kingma & Ba 2015, Jordan 2024), and what the
backward pass keeps (Korthikanti et al. 2022, section 4.1, without recomputation, for attention that does not store its
scores) with the logits, which dominate in models of few layers. Processes that share a model each hold their part of
all but the activations; the layer that is put together at a time is left out. It is meant to be right within a third;
memory that other parts of a process take is `RESERVED`.
"""

from typing import Final

from llmops_resources.errors import FieldProblem, field_problem
from llmops_resources.training.architecture import Architecture, parameter_count
from llmops_resources.training.recipe import OptimizerName, Recipe
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


def estimate(recipe: Recipe, architecture: Architecture) -> MemoryEstimate:
    """The need of a run of `recipe` on a new model of `architecture`, all of which is trained."""
    parameters = parameter_count(architecture)
    embeddings = architecture.vocab_size * architecture.hidden_size
    matrices = parameters - embeddings if recipe.optimizer is OptimizerName.MUON else 0
    sharers = recipe.processes if recipe.is_sharded(parameters) else 1
    return MemoryEstimate(
        parameters=parameters,
        weights=-(-4 * parameters // sharers),
        gradients=-(-4 * parameters // sharers),
        optimizer=-(-4 * (2 * parameters - matrices) // sharers),
        activations=_activations(recipe, architecture),
    )


def too_large(need: MemoryEstimate, gpu_type: str | None) -> list[FieldProblem]:
    """Why the run does not fit on one GPU of the type; empty when it does, or when the type's size is not known."""
    there = GPU_BYTES.get((gpu_type or "").lower())
    if there is None or need.total <= there:
        return []
    parts = {"activations": need.activations, "optimizer state": need.optimizer, "weights": need.weights}
    largest = max(parts, key=lambda name: parts[name])
    cures = {
        "activations": "use a smaller batchSize, a larger gradientAccumulation, or a shorter contextLength",
        "optimizer state": "use lora, a smaller model, parallelism fsdp over more GPUs, or a larger GPU",
        "weights": "use a smaller model, parallelism fsdp over more GPUs, or a larger GPU",
    }
    problem = (
        f"about {need.total / GIB:.0f} GiB are needed a process, most of it for {largest} "
        f"({parts[largest] / GIB:.0f} GiB), and {gpu_type} has {there / GIB:.0f} GiB"
    )
    return [field_problem("resourceProfile.gpuType", problem, cures[largest])]


def _activations(recipe: Recipe, architecture: Architecture) -> int:
    """Of the largest piece that goes through the model at once."""
    pieces = recipe.processes * recipe.gradient_accumulation
    sequences = -(-recipe.batch_size // pieces)
    tokens = sequences * architecture.context_length
    width = 2 if recipe.use_gpu else 4  # bytes a value: bfloat16 on GPUs, float32 elsewhere
    layer = tokens * (16 * architecture.hidden_size + 4 * architecture.intermediate_size) * width
    logits = tokens * architecture.vocab_size * (width + 2 * 4)  # and in float32 with their gradient
    return architecture.layers * layer + logits
