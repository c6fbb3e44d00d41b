"""The estimate of memory is near what a run really takes, and says what to change."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from llmops_resources.training.architecture import Architecture
from llmops_resources.training.memory import GIB, estimate, too_large
from llmops_resources.training.recipe import Recipe


def recipe(shape: dict[str, Any], **dials: Any) -> tuple[Recipe, Architecture]:
    made = Recipe.from_hyperparameters("pretrain", {"architecture": shape, **dials}, use_gpu=False)
    assert made.architecture is not None
    return made, made.architecture


def saved_bytes(made: Architecture, sequences: int) -> int:
    """What a real model keeps for its backward pass, counted tensor by tensor, its weights left out.

    The backward pass begins by making two more of the size of the logits: their gradient, and that of the softmax.
    """
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=made.vocab_size, hidden_size=made.hidden_size, intermediate_size=made.intermediate_size,
            num_hidden_layers=made.layers, num_attention_heads=made.heads, num_key_value_heads=made.heads,
            max_position_embeddings=made.context_length, tie_word_embeddings=True,
        )
    )  # fmt: skip
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = torch.randint(0, made.vocab_size, (sequences, made.context_length))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(input_ids=inputs, use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), inputs.flatten())
    del loss
    return sum(kept.values()) + 2 * logits.untyped_storage().nbytes()


@pytest.mark.parametrize(
    ("shape", "sequences"),
    [
        ({"hiddenSize": 64, "layers": 4, "vocabSize": 512, "contextLength": 64}, 4),
        ({"hiddenSize": 128, "layers": 2, "vocabSize": 2048, "contextLength": 128}, 2),
        ({"hiddenSize": 96, "layers": 6, "heads": 2, "vocabSize": 300, "contextLength": 64}, 4),
    ],
)
def test_the_activations_are_estimated_within_a_third(shape: dict[str, Any], sequences: int) -> None:
    made, architecture = recipe(shape, batchSize=sequences)
    assert estimate(made, architecture).activations == pytest.approx(saved_bytes(architecture, sequences), rel=0.34)


def test_accumulating_gradients_and_more_processes_need_less_at_once() -> None:
    shape = {"hiddenSize": 64, "layers": 2}
    whole, pieces = (recipe(shape, batchSize=16, gradientAccumulation=count) for count in (1, 4))
    assert estimate(*pieces).activations == estimate(*whole).activations // 4
    assert estimate(*pieces).weights == estimate(*whole).weights


def test_a_model_that_cannot_fit_is_refused_with_what_takes_the_memory_and_what_to_change() -> None:
    large = recipe({"hiddenSize": 8192, "layers": 48, "vocabSize": 32000}, batchSize=1, optimizer="adamw")
    (problem,) = too_large(estimate(*large), "a100")
    assert "optimizer state" in problem["problem"]
    assert "lora" in problem["remedy"]
    wide = recipe({"hiddenSize": 512, "layers": 4, "contextLength": 4096}, batchSize=1024)
    (problem,) = too_large(estimate(*wide), "T4")
    assert "gradientAccumulation" in problem["remedy"]


def test_a_model_that_fits_and_a_gpu_that_is_not_known_are_not_refused() -> None:
    small = estimate(*recipe({"hiddenSize": 64, "layers": 2}))
    assert small.total < 2 * GIB
    assert too_large(small, "t4") == too_large(small, None) == too_large(small, "quantum-9") == []


def test_processes_that_share_a_model_need_a_part_of_it_each() -> None:
    shape = {"architecture": {"hiddenSize": 2048, "layers": 8, "vocabSize": 32000}, "batchSize": 8}
    needs = []
    for parallelism in ("ddp", "fsdp"):
        dials = {**shape, "parallelism": parallelism}
        made = Recipe.from_hyperparameters("pretrain", dials, use_gpu=True, processes=4)
        assert made.architecture is not None
        needs.append(estimate(made, made.architecture))
    whole, part = needs
    assert (part.weights, part.gradients) == (whole.weights // 4, whole.gradients // 4)
    assert part.optimizer == pytest.approx(whole.optimizer / 4, abs=1)
    assert part.activations == whole.activations
