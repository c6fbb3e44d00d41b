"""Models before their first step: new ones with their initialisation, and adapters on a base model."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from llmops_resources.errors import InvalidInput
from llmops_resources.training.architecture import Architecture
from llmops_resources.training.recipe import Initialization, Lora, Recipe


def new_model(recipe: Recipe, architecture: Architecture, tokenizer: PreTrainedTokenizerBase, base: Path) -> Any:
    """A Llama-style decoder whose first weights are what the recipe's `initialization` says.

    With a tokenizer that was taken over, the vocabulary is as large as that one's. Raises InvalidInput when nothing
    of the model in `base` fits.
    """
    borrowed = recipe.initialization is not Initialization.RANDOM
    config = decoder(
        architecture,
        vocab_size=len(tokenizer) if borrowed else architecture.vocab_size,
        attention_dropout=recipe.dropout,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    if recipe.initialization is Initialization.PRETRAINED_EMBEDDINGS:
        _take_embeddings(model, base)
    elif recipe.initialization is Initialization.CUSTOM_WEIGHTS:
        _take_weights(model, base)
    return model


def decoder(architecture: Architecture, **more: Any) -> LlamaConfig:
    """The configuration of a Llama-style decoder of this shape; `more` are settings of `LlamaConfig` that go first."""
    shape = {
        "vocab_size": architecture.vocab_size,
        "hidden_size": architecture.hidden_size,
        "intermediate_size": architecture.intermediate_size,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "num_key_value_heads": architecture.heads,
        "max_position_embeddings": architecture.context_length,
        "tie_word_embeddings": True,
    }
    return LlamaConfig(**{**shape, **more})


def apply_lora(model: nn.Module, lora: Lora) -> Any:
    """The model with all its weights frozen and a low-rank adapter on its linear layers."""
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415  takes seconds to import, and few runs need it

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # fractions work as well
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or "all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        names = sorted({name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)})
        remedy = f"name some of its linear layers: {', '.join(names)}"
        raise InvalidInput(f"no adapter fits on this model: {error}", remedy=remedy) from error


def keeps_texts_apart(model: Any) -> bool:
    """Whether texts in one sequence, with positions that begin at 0 with each, are to this model as if each was alone.

    Tried on the model itself: it depends on its kind and on how its attention is computed.
    """
    vocabulary = int(model.config.vocab_size)
    draw = torch.Generator().manual_seed(0)
    one, two = (torch.randint(0, vocabulary, (1, length), generator=draw) for length in (5, 7))
    positions = torch.cat([torch.arange(5), torch.arange(7)])[None]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            together = model(input_ids=torch.cat([one, two], 1), position_ids=positions, use_cache=False).logits
            alone = [model(input_ids=text, use_cache=False).logits for text in (one, two)]
    except (TypeError, ValueError, RuntimeError):  # a model that takes no positions
        return False
    finally:
        model.train(was_training)
    return bool(torch.allclose(together, torch.cat(alone, 1), rtol=1e-3, atol=1e-4))


def merged(model: Any) -> Any:
    """The plain model, with its adapters added into its weights if it has any."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def _take_embeddings(model: Any, base: Path) -> None:
    source: Any = AutoModelForCausalLM.from_pretrained(
        base, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    )
    taken, own = source.get_input_embeddings().weight, model.get_input_embeddings().weight
    if taken.shape[1] != own.shape[1] or taken.shape[0] < own.shape[0]:
        raise InvalidInput(
            f"the embeddings of the given model are {tuple(taken.shape)}, those of this architecture "
            f"{tuple(own.shape)}",
            remedy=f"set hiddenSize to {taken.shape[1]}, or use another model",
        )
    with torch.no_grad():
        own.copy_(taken[: own.shape[0]])  # some models pad theirs past the tokenizer's end


def _take_weights(model: Any, base: Path) -> None:
    given: dict[str, Tensor] = {}
    for path in sorted(base.glob("*.safetensors")):
        given |= load_file(path)
    own = model.state_dict()
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        example = next(iter(sorted(given)), "no tensors")
        raise InvalidInput(
            f"none of the {len(given)} tensors of the given model fits this architecture ({example}, …)",
            remedy="give the architecture that the weights were made for, or use another initialization",
        )
    model.load_state_dict(fitting, strict=False)
    model.tie_weights()
