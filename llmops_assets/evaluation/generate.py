"""Answers of a model to many prompts: greedy, in batches, prompts of like length together, padded on the left."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from llmops_assets.training.tokens import IGNORED, Pair, padded, pair

BATCH = 32


@dataclass(frozen=True)
class Answer:
    """What the model answered. `text` is missing when the prompt leaves no room for an answer in the context."""

    text: str | None
    tokens: int
    finished: bool  # by itself, and not cut off after `max_new_tokens`


def chat_prompt(tokenizer: Any, prompt: str) -> str:
    """The prompt as the model wants it: through its chat template where it has one, else as it is."""
    if not tokenizer.chat_template:
        return prompt
    turns = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def answers(
    model: Any, tokenizer: Any, prompts: Sequence[str], max_new_tokens: int, progress: Callable[[float], None]
) -> list[Answer]:
    """One greedy answer a prompt, in the order of the prompts; identical to answering them one by one."""
    encoded = [tokenizer(chat_prompt(tokenizer, prompt), add_special_tokens=False)["input_ids"] for prompt in prompts]
    room = _context(model) - max_new_tokens
    order = sorted((index for index, ids in enumerate(encoded) if 0 < len(ids) <= room), key=lambda i: len(encoded[i]))
    result = [Answer(None, 0, False)] * len(prompts)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        for index, ids in zip(rows, _greedy(model, tokenizer, [encoded[i] for i in rows], max_new_tokens), strict=True):
            ends = _ends(model, tokenizer)
            length = next((at for at, token in enumerate(ids) if token in ends), None)
            text = tokenizer.decode(ids[:length], skip_special_tokens=True).strip()
            result[index] = Answer(text, len(ids) if length is None else length, length is not None)
        progress((start + len(rows)) / len(order))
    return result


def answer_losses(
    model: Any, tokenizer: Any, prompts: Sequence[str], expected: Sequence[str]
) -> list[tuple[float, int] | None]:
    """For each pair the summed loss (nats) of the expected answer after its prompt, and over how many tokens.

    The end of the turn counts as a token of the answer. None where prompt and answer exceed the context.
    """
    pairs = [_pair(tokenizer, prompt, answer) for prompt, answer in zip(prompts, expected, strict=True)]
    limit = _context(model)
    usable = [index for index, example in enumerate(pairs) if 0 < example.prompt < len(example.ids) <= limit]
    order = sorted(usable, key=lambda index: len(pairs[index].ids))
    result: list[tuple[float, int] | None] = [None] * len(pairs)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = padded([pairs[index] for index in rows], tokenizer.pad_token_id or 0)
        with torch.inference_mode():
            logits = model(input_ids=batch.inputs.to(model.device), use_cache=False).logits[:, :-1].float()
        labels = batch.labels[:, 1:].to(model.device)
        losses = cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none").sum(dim=1)
        for index, loss, count in zip(rows, losses.tolist(), (labels != IGNORED).sum(dim=1).tolist(), strict=True):
            result[index] = (loss, count)
    return result


def _pair(tokenizer: Any, prompt: str, answer: str) -> Pair:
    if tokenizer.chat_template:
        return pair(tokenizer, prompt, answer)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return Pair((*ids, *tokenizer(" " + answer, add_special_tokens=False)["input_ids"]), len(ids))


def _greedy(model: Any, tokenizer: Any, rows: list[list[int]], max_new_tokens: int) -> list[list[int]]:
    """The generated ids of each row, which may run on after an end token because its neighbors were not done."""
    width = max(map(len, rows))
    pad = tokenizer.pad_token_id or 0
    inputs = torch.tensor([[pad] * (width - len(ids)) + ids for ids in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in rows], device=model.device)
    with torch.inference_mode():
        output = model.generate(
            input_ids=inputs,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(_ends(model, tokenizer)) or None,
            pad_token_id=pad,
        )
    generated: list[list[int]] = output[:, width:].tolist()
    return generated


def _ends(model: Any, tokenizer: Any) -> set[int]:
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return {token for token in (*ids, tokenizer.eos_token_id) if token is not None}


def _context(model: Any) -> float:
    return getattr(model.config, "max_position_embeddings", None) or math.inf
