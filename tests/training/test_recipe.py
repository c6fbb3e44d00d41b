"""The recipe: few dials in, everything written down, and every mistake named by its place."""

from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from llmops_resources.errors import ValidationFailed
from llmops_resources.training.architecture import Architecture, parameter_count
from llmops_resources.training.recipe import OptimizerName, Recipe

SMALL = {"hiddenSize": 64, "layers": 2}


def problems(job_type: str, hyperparameters: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as raised:
        Recipe.from_hyperparameters(job_type, hyperparameters, use_gpu=False)
    return {problem["path"]: problem["remedy"] for problem in raised.value.details}


def test_two_dials_make_a_complete_architecture() -> None:
    recipe = Recipe.from_hyperparameters("pretrain", {"architecture": SMALL}, use_gpu=False)
    assert recipe.architecture == Architecture(
        hidden_size=64, layers=2, heads=2, intermediate_size=192, vocab_size=2048, context_length=256
    )


def test_camel_case_and_snake_case_mean_the_same_recipe() -> None:
    camel = {"architecture": SMALL, "batchSize": 4, "learningRate": 0.01}
    snake = {"architecture": {"hidden_size": 64, "layers": 2}, "batch_size": 4, "learning_rate": 0.01}
    one, two = (Recipe.from_hyperparameters("from_scratch", each, use_gpu=False) for each in (camel, snake))
    assert one.digest == two.digest


def test_the_digest_changes_with_every_setting() -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 1}, {"epochs": 2}, {"optimizer": "adamw"}, {"maxTokens": 5}]
    digests = {Recipe.from_hyperparameters("finetune", change, use_gpu=False).digest for change in changes}
    assert len(digests) == len(changes)


def test_the_digest_survives_a_round_trip_through_json() -> None:
    recipe = Recipe.from_hyperparameters("pretrain", {"architecture": SMALL}, use_gpu=True)
    assert Recipe.model_validate(recipe.json_dict()).digest == recipe.digest


def test_a_large_new_model_on_a_gpu_is_compiled_unless_somebody_says_no() -> None:
    large = {"architecture": {**SMALL, "hiddenSize": 768, "heads": 12, "layers": 12}}

    def compiled(use_gpu: bool, **dials: Any) -> bool:
        return Recipe.from_hyperparameters("pretrain", large | dials, use_gpu=use_gpu, processes=2).compile

    assert compiled(True)
    assert not compiled(False)
    assert not compiled(True, compile=False)
    assert not compiled(True, architecture=SMALL)
    assert not compiled(True, parallelism="fsdp")


def test_adamw_has_its_own_usual_learning_rate() -> None:
    recipe = Recipe.from_hyperparameters("finetune", {"optimizer": "adamw"}, use_gpu=False)
    assert recipe.optimizer is OptimizerName.ADAMW
    assert recipe.learning_rate == recipe.adamw_learning_rate == 3e-3


def test_every_problem_is_told_at_once_with_its_path() -> None:
    found = problems("pretrain", {"architecture": {"hiddenSize": 0, "layers": "many"}, "batchSize": -1})
    assert set(found) == {
        "hyperparameters.architecture.hiddenSize",
        "hyperparameters.architecture.layers",
        "hyperparameters.batchSize",
    }


def test_a_misspelt_hyperparameter_is_refused_with_the_likely_name() -> None:
    assert problems("finetune", {"learningrate": 0.1}) == {"hyperparameters.learningrate": "did you mean learningRate?"}


def test_a_missing_field_is_told_without_what_would_have_been_derived_from_it() -> None:
    assert set(problems("pretrain", {"architecture": {"layers": 2}})) == {"hyperparameters.architecture.hiddenSize"}


def test_heads_that_do_not_divide_the_hidden_size_are_refused() -> None:
    assert "hyperparameters.architecture.heads" in problems("pretrain", {"architecture": SMALL | {"heads": 3}})


def test_an_odd_head_size_is_refused() -> None:
    odd = {"hiddenSize": 30, "layers": 1, "heads": 2}
    assert "hyperparameters.architecture.heads" in problems("pretrain", {"architecture": odd})


@pytest.mark.parametrize("job_type", ["from_scratch", "pretrain"])
def test_a_new_model_needs_an_architecture(job_type: str) -> None:
    assert set(problems(job_type, {})) == {"hyperparameters.architecture"}


def test_a_fine_tuned_model_cannot_choose_its_architecture() -> None:
    assert set(problems("finetune", {"architecture": SMALL})) == {"hyperparameters.architecture"}


def test_an_unknown_job_type_is_refused_with_the_known_ones() -> None:
    assert "pretrain" in problems("distil", {})["jobType"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0, -1, "fast"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(value: object) -> None:
    assert "hyperparameters.learningRate" in problems("finetune", {"learningRate": value})


def test_the_parameter_count_is_that_of_the_real_model() -> None:
    architecture = Architecture(hidden_size=32, layers=2, heads=2, intermediate_size=48, vocab_size=300)
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    assert parameter_count(architecture) == LlamaForCausalLM(config).num_parameters()


def test_a_model_is_shared_by_choice_or_from_a_billion_parameters_on_and_never_by_one_process() -> None:
    def shared(parameters: int, processes: int = 2, **dials: str) -> bool:
        given = {"architecture": SMALL, **dials}
        return Recipe.from_hyperparameters("pretrain", given, use_gpu=False, processes=processes).is_sharded(parameters)

    assert [shared(999_999_999), shared(1_000_000_000), shared(10**12, processes=1)] == [False, True, False]
    assert [shared(10**12, parallelism="ddp"), shared(1, parallelism="fsdp")] == [False, True]
    assert "distributed" in problems("finetune", {"parallelism": "fsdp"})["hyperparameters.parallelism"]
