"""What a run starts from: a model, its tokenizer, and the rows as batches, a part of them held out."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from llmops_assets.training.metrics import Reporter
from llmops_assets.training.rows import read_rows
from llmops_assets.training.tokens import Batch, pack, pair, pair_batches, prepare_for_chat, train_tokenizer, windows
from llmops_resources.errors import InvalidInput, Unavailable
from llmops_resources.training.recipe import Recipe


@dataclass(frozen=True)
class Material:
    """What a run trains on: passes over the training split, and the held-out split in a fixed order."""

    training_pass: Callable[[np.random.Generator], Iterator[Batch]]
    steps_a_pass: int
    tokens_a_pass: int
    held_out: list[Batch]
    rows: dict[str, int]


def new_model_and_text(recipe: Recipe, work: Path, reporter: Reporter) -> tuple[Any, PreTrainedTokenizerBase, Material]:
    """A model with random weights, a tokenizer trained on the training split, and the text packed into windows.

    Raises:
        InvalidInput, ValidationFailed: the data cannot be read, lacks the column, or has too little text.
    """
    architecture = recipe.architecture
    if architecture is None:
        raise InvalidInput("the recipe has no architecture", remedy="make recipes with Recipe.from_hyperparameters")
    rows = read_rows(work / "data", {"textColumn": recipe.text_column})[recipe.text_column].to_list()
    texts = [text for text in rows if text]
    training, held_out = _split(len(texts), recipe)
    reporter.progress(0.02, "training the tokenizer")
    training_texts = [texts[index] for index in training]
    tokenizer = train_tokenizer(training_texts, architecture.vocab_size, architecture.context_length)
    reporter.progress(0.06, "tokenizing")
    tokens = pack(tokenizer, training_texts)
    length = min(architecture.context_length, len(tokens))
    rng = np.random.default_rng(recipe.seed)
    evaluation = pack(tokenizer, [texts[index] for index in held_out])
    config = LlamaConfig(
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.intermediate_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.heads,
        max_position_embeddings=architecture.context_length,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    material = Material(
        training_pass=lambda epoch_rng: windows(tokens, length, recipe.batch_size, epoch_rng),
        steps_a_pass=max(1, len(tokens) // length // recipe.batch_size),
        tokens_a_pass=len(tokens),
        held_out=list(windows(evaluation, length, recipe.batch_size, rng)),
        rows={"train": len(training), "evaluation": len(held_out), "skipped": len(rows) - len(texts)},
    )
    return LlamaForCausalLM(config), tokenizer, material


def base_and_pairs(recipe: Recipe, work: Path, reporter: Reporter) -> tuple[Any, PreTrainedTokenizerBase, Material]:
    """The base model with its tokenizer, made ready for chat, and questions with answers in padded batches.

    Raises:
        InvalidInput, ValidationFailed: the data cannot be read, lacks a column, or has too few usable rows.
        Unavailable: there is no base model.
    """
    base = work / "base"
    if not (base / "config.json").is_file():
        raise Unavailable(f"there is no base model in {base}", remedy="put the base model's files there")
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        base, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    )
    prepare_for_chat(tokenizer)
    _answer_greedily(model, tokenizer)
    reporter.progress(0.05, "tokenizing")
    columns = {"promptColumn": recipe.prompt_column, "answerColumn": recipe.answer_column}
    rows = read_rows(work / "data", columns).rows()
    limit = getattr(model.config, "max_position_embeddings", None) or math.inf
    pairs = [pair(tokenizer, prompt, answer) for prompt, answer in rows if prompt and answer]
    pairs = [example for example in pairs if len(example.ids) <= limit]
    training, held_out = _split(len(pairs), recipe)
    chosen = [pairs[index] for index in training]
    pad = tokenizer.pad_token_id
    rng = np.random.default_rng(recipe.seed)
    material = Material(
        training_pass=lambda epoch_rng: pair_batches(chosen, recipe.batch_size, pad, epoch_rng),
        steps_a_pass=math.ceil(len(chosen) / recipe.batch_size),
        tokens_a_pass=sum(len(example.ids) for example in chosen),
        held_out=list(pair_batches([pairs[index] for index in held_out], recipe.batch_size, pad, rng)),
        rows={"train": len(training), "evaluation": len(held_out), "skipped": len(rows) - len(pairs)},
    )
    return model, tokenizer, material


def _answer_greedily(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Servers take their defaults from here: a model that was taught answers should give its likeliest one."""
    defaults = model.generation_config
    model.config.eos_token_id = defaults.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = defaults.pad_token_id = tokenizer.pad_token_id
    defaults.do_sample = False
    defaults.temperature = defaults.top_p = defaults.top_k = None  # of sampling, and refused without it


def _split(count: int, recipe: Recipe) -> tuple[list[int], list[int]]:
    """Row numbers of the training and of the held-out split: apart, both in order, the same for the same seed."""
    if count < 2:
        remedy = "check that the columns hold text and that rows fit in the context length"
        raise InvalidInput(f"{count} usable rows are too few to train on and to hold some out", remedy=remedy)
    held_out = max(1, round(count * recipe.evaluation_fraction))
    order = np.random.default_rng(recipe.seed).permutation(count)
    return sorted(order[held_out:].tolist()), sorted(order[:held_out].tolist())
