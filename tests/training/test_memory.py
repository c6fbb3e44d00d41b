"""The estimate of memory is near what a run really takes, and says what to change."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from llmops_assets.training.models import apply_lora
from llmops_resources.training.architecture import Architecture, parameter_count
from llmops_resources.training.memory import (
    GIB,
    BaseModel,
    base_too_large,
    estimate,
    estimate_finetuning,
    read_base,
    told,
    too_large,
)
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
    assert "fsdp" in problem["remedy"]
    assert "lora" not in problem["remedy"], "a new model has nothing to adapt"
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


# -- fine-tuning -----------------------------------------------------------------------------------------------------

#: What the airlock says of a model of eight billion parameters.
EIGHT_BILLION = {
    "parameters": 8_030_261_248, "vocabSize": 128_256, "hiddenSize": 4_096, "layers": 32, "contextLength": 8_192,
}  # fmt: skip
LORA = {"rank": 16}


def tuning(processes: int = 1, **dials: Any) -> Recipe:
    return Recipe.from_hyperparameters("finetune", dials, use_gpu=True, processes=processes)


def known(summary: dict[str, Any]) -> BaseModel:
    base, why = read_base(summary)
    assert base is not None, why
    return base


def test_fine_tuning_a_whole_model_needs_what_training_it_anew_does() -> None:
    new = Recipe.from_hyperparameters(
        "pretrain", {"architecture": {"hiddenSize": 256, "layers": 4}, "batchSize": 16}, use_gpu=True
    )
    assert new.architecture is not None
    shape = new.architecture
    summary = {
        "parameters": parameter_count(shape), "vocabSize": shape.vocab_size, "hiddenSize": shape.hidden_size,
        "layers": shape.layers, "contextLength": shape.context_length,
    }  # fmt: skip
    assert known(summary).intermediate_size == pytest.approx(shape.intermediate_size, rel=0.01)
    made, tuned = estimate(new, shape), estimate_finetuning(tuning(), known(summary))
    for part in ("parameters", "weights", "gradients", "optimizer"):
        assert getattr(tuned, part) == getattr(made, part)
    assert tuned.activations == pytest.approx(made.activations, rel=0.01)


@pytest.mark.parametrize("targets", [[], ["q_proj", "o_proj"]])
def test_adapters_are_counted_as_peft_makes_them(targets: list[str]) -> None:
    shape = Architecture(hidden_size=64, layers=3, heads=2, intermediate_size=192, vocab_size=300)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=300, hidden_size=64, intermediate_size=192, num_hidden_layers=3, num_attention_heads=2,
            num_key_value_heads=2, tie_word_embeddings=True,
        )
    )  # fmt: skip
    recipe_ = tuning(lora={"rank": 4, "targets": targets})
    assert recipe_.lora is not None
    made = apply_lora(model, recipe_.lora)
    trained = sum(parameter.numel() for parameter in made.parameters() if parameter.requires_grad)
    base = BaseModel(
        parameters=parameter_count(shape), vocab_size=300, hidden_size=64, layers=3, context_length=64
    )
    need = estimate_finetuning(recipe_, base)
    assert need.gradients == pytest.approx(4 * trained, rel=0.02)
    assert need.optimizer == 2 * need.gradients
    assert need.weights == 4 * base.parameters + need.gradients


def test_a_base_model_that_cannot_fit_is_refused_with_lora_as_the_way_out_which_then_is_none() -> None:
    base = known(EIGHT_BILLION)
    whole, adapted = tuning(optimizer="adamw"), tuning(lora=LORA)
    (problem,) = base_too_large(estimate_finetuning(whole, base), "a100", whole)
    assert problem["path"] == "resourceProfile.gpuType"
    assert "optimizer state (60 GiB)" in problem["problem"]
    assert "a100 has 80 GiB" in problem["problem"]
    assert "use lora" in problem["remedy"]
    assert base_too_large(estimate_finetuning(adapted, base), "a100", adapted) == []
    (problem,) = base_too_large(estimate_finetuning(adapted, base), "t4", adapted)
    assert "weights (30 GiB)" in problem["problem"]
    assert "lora" not in problem["remedy"]


def test_more_gpus_that_share_a_base_model_are_the_other_way_out() -> None:
    shared = tuning(processes=4, optimizer="adamw", parallelism="fsdp")
    assert base_too_large(estimate_finetuning(shared, known(EIGHT_BILLION)), "a100", shared) == []


def test_rows_that_may_be_short_are_no_reason_to_refuse_and_the_sentence_says_what_long_ones_need() -> None:
    base, made = known(EIGHT_BILLION), tuning(lora=LORA)
    need = estimate_finetuning(made, base)
    assert need.total > 80 * GIB > need.fixed
    assert base_too_large(need, "a100", made) == []
    assert told(need, "a100", base).startswith("at least 31.6 GiB a process, of the 80 GiB of a100: weights 30.1")
    assert "rows of 8,192 tokens, which do not fit: use a smaller batchSize" in told(need, "a100", base)
    assert "whose size is not known" in told(need, "quantum-9", base)
    assert base_too_large(need, "quantum-9", made) == []


@pytest.mark.parametrize("missing", sorted(EIGHT_BILLION))
@pytest.mark.parametrize("value", [None, 0, "many"])
def test_without_the_evidence_no_estimate_is_made_and_what_is_missing_is_said(missing: str, value: Any) -> None:
    base, why = read_base(EIGHT_BILLION | {missing: value})
    assert base is None
    assert why == f"not made: the airlock's evidence of the base model does not say {missing}"


def test_a_model_of_another_build_is_not_estimated() -> None:
    base, why = read_base(EIGHT_BILLION | {"parameters": 600_000_000})
    assert base is None
    assert "Llama-style" in why
