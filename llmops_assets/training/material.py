"""What a run starts from: a model, its tokenizer, and the rows as batches, a part of them held out."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from llmops_assets.training.metrics import Reporter
from llmops_assets.training.models import apply_lora, keeps_texts_apart, new_model
from llmops_assets.training.rows import stream_rows
from llmops_assets.training.sources import Packed, Pairs, Rows, Source, pack, packed
from llmops_assets.training.tokens import Batch, Pair, pairs, prepare_for_chat, train_tokenizer
from llmops_resources.errors import InvalidInput, Unavailable
from llmops_resources.training.recipe import Recipe

TOKENIZER_SAMPLE: Final = 20_000_000  # characters of text that a tokenizer learns from; more changes little
TEXTS_AT_ONCE: Final = 1_000
OneFirst = Callable[[], AbstractContextManager[None]]  # of the processes on a machine, one goes through before the rest


@dataclass(frozen=True)
class Material:
    """What a run trains on, and the held-out rows in a fixed order."""

    training: Source
    evaluation: Source
    held_out: list[Rows]
    rows: dict[str, int]

    def evaluation_batches(
        self, first: int = 0, every: int = 1, limit: float = math.inf
    ) -> Iterator[tuple[Batch, bool]]:
        """The held-out batches until `limit` tokens are looked at; of several processes, each takes every so many-th.

        All get equally many, because those that share a model compute together: where one has none left it gets
        another's once more, with False, and leaves it out of its sums.
        """
        seen = 0
        for start in range(0, len(self.held_out), every):
            if seen >= limit:
                return
            together = self.held_out[start : start + every]
            own = first < len(together)
            yield self.evaluation.batch(together[first if own else 0]), own
            seen += sum(self.evaluation.learned(rows) for rows in together)


def new_model_and_text(
    recipe: Recipe, work: Path, reporter: Reporter, one_first: OneFirst
) -> tuple[Any, PreTrainedTokenizerBase, Material]:
    """A new model, its tokenizer, and the text packed into windows.

    The tokenizer is trained on the training split, or is that of the model which the first weights come from.

    Raises:
        InvalidInput, ValidationFailed: the data cannot be read, lacks the column, or has too little text.
        Unavailable: the recipe starts from a model that is not there.
    """
    architecture = recipe.architecture
    if architecture is None:
        raise InvalidInput("the recipe has no architecture", remedy="make recipes with Recipe.from_hyperparameters")
    text = _Text(work / "data", recipe)
    folder = work / "tokens"
    with one_first():
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            reporter.progress(0.02, "training the tokenizer")
            tokenizer = _tokenizer(recipe, work, text, architecture.vocab_size, architecture.context_length)
            reporter.progress(0.06, "tokenizing")
            pack(tokenizer, text.training(), folder / "training")
            pack(tokenizer, text.held_out(), folder / "evaluation")
            tokenizer.save_pretrained(folder / "tokenizer", save_jinja_files=False)
            (folder / "done").touch()
    tokenizer = _read_tokenizer(folder / "tokenizer")
    tokens, evaluation = (packed(tokenizer, folder / name) for name in ("training", "evaluation"))
    if len(tokens) < 2:
        raise InvalidInput("there is too little text to train on", remedy="check the data set's text column")
    length = min(architecture.context_length, len(tokens))
    held_out = Packed(evaluation, length, recipe.batch_size)
    material = Material(
        training=Packed(tokens, length, recipe.batch_size),
        evaluation=held_out,
        held_out=held_out.order(np.random.default_rng(recipe.seed)),
        rows={"train": text.count - text.held_out_count, "evaluation": text.held_out_count, "skipped": text.skipped},
    )
    return new_model(recipe, architecture, tokenizer, work / "base"), tokenizer, material


def base_and_pairs(
    recipe: Recipe, work: Path, reporter: Reporter, _one_first: OneFirst
) -> tuple[Any, PreTrainedTokenizerBase, Material]:
    """The base model with its tokenizer, made ready for chat, and questions with answers in padded batches.

    Raises:
        InvalidInput, ValidationFailed: the data cannot be read, lacks a column, or has too few usable rows.
        Unavailable: there is no base model.
    """
    tokenizer = _read_tokenizer(work / "base")
    model = AutoModelForCausalLM.from_pretrained(
        work / "base", local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    )
    if hasattr(model.config, "attention_dropout"):
        model.config.attention_dropout = recipe.dropout
    prepare_for_chat(tokenizer)
    _answer_greedily(model, tokenizer)
    reporter.progress(0.05, "tokenizing")
    limit = getattr(model.config, "max_position_embeddings", None) or math.inf
    total, usable = 0, []
    columns = {"promptColumn": recipe.prompt_column, "answerColumn": recipe.answer_column}
    for frame in stream_rows(work / "data", columns):
        total += len(frame)
        told = [(prompt, answer) for prompt, answer in frame.rows() if prompt and answer]
        usable += [example for example in pairs(tokenizer, told) if len(example.ids) <= limit] if told else []
    held = _held_out(len(usable), recipe)
    parts: list[list[Pair]] = [[], []]
    for index, example in enumerate(usable):
        parts[held[index]].append(example)
    packing = recipe.packing and keeps_texts_apart(model)
    if recipe.packing and not packing:
        sentence = "this model's attention does not keep packed texts apart: pairs are padded instead, sorted by length"
        print(sentence, file=sys.stderr, flush=True)
    pad = int(tokenizer.pad_token_id)
    training, evaluation = (Pairs(part, recipe.batch_size, pad, packing=packing) for part in parts)
    material = Material(
        training=training,
        evaluation=evaluation,
        held_out=evaluation.order(np.random.default_rng(recipe.seed)),
        rows={"train": len(parts[0]), "evaluation": len(parts[1]), "skipped": total - len(usable)},
    )
    return (apply_lora(model, recipe.lora) if recipe.lora else model), tokenizer, material


class _Text:
    """The usable rows of a text column, read as a stream as often as they are needed."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self._folder, self._column = folder, recipe.text_column
        total, self.count = 0, 0
        for frame in stream_rows(folder, {"textColumn": self._column}):
            total += len(frame)
            self.count += int((frame[self._column].str.len_bytes() > 0).sum())
        self.skipped = total - self.count
        self._held = _held_out(self.count, recipe)
        self.held_out_count = int(self._held.sum())

    def training(self) -> Iterator[str]:
        return (text for text, held in zip(self._texts(), self._held, strict=True) if not held)

    def held_out(self) -> Iterator[str]:
        return (text for text, held in zip(self._texts(), self._held, strict=True) if held)

    def sample(self) -> Iterator[str]:
        """Documents from all over the training split, up to `TOKENIZER_SAMPLE` characters."""
        total = sum(len(text) for text in self.training())
        return islice(self.training(), None, None, max(1, -(-total // TOKENIZER_SAMPLE)))

    def _texts(self) -> Iterator[str]:
        for frame in stream_rows(self._folder, {"textColumn": self._column}):
            yield from (text for text in frame[self._column].to_list() if text)


def _tokenizer(
    recipe: Recipe, work: Path, text: _Text, vocab_size: int, context_length: int
) -> PreTrainedTokenizerBase:
    kept = work / "resume" / "tokenizer"
    if kept.is_dir():
        return _read_tokenizer(kept)  # the checkpoint's weights were trained with this one
    if recipe.needs_base:
        return _read_tokenizer(work / "base")
    return train_tokenizer(text.sample(), vocab_size, context_length)


def _read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    if not folder.is_dir():
        raise Unavailable(f"there is no base model in {folder}", remedy="put the base model's files there")
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return found


def _answer_greedily(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Servers take their defaults from here: a model that was taught answers should give its likeliest one."""
    defaults = model.generation_config
    model.config.eos_token_id = defaults.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = defaults.pad_token_id = tokenizer.pad_token_id
    defaults.do_sample = False
    defaults.temperature = defaults.top_p = defaults.top_k = None  # of sampling, and refused without it


def _held_out(count: int, recipe: Recipe) -> NDArray[np.int8]:
    """1 for each row that is held out and never trained on, else 0; the same for the same seed."""
    if count < 2:
        remedy = "check that the columns hold text and that rows fit in the context length"
        raise InvalidInput(f"{count} usable rows are too few to train on and to hold some out", remedy=remedy)
    held = np.zeros(count, dtype=np.int8)
    order = np.random.default_rng(recipe.seed).permutation(count)
    held[order[: max(1, round(count * recipe.evaluation_fraction))]] = 1
    return held
