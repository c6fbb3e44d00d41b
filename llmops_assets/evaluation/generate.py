"""Answers of a model to many prompts: greedy, in batches, prompts of like length together, padded on the left."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from llmops_assets.decoding import READ_AT_ONCE, DecodingBatch, check
from llmops_assets.evaluation.partial import Once, afresh
from llmops_assets.training.tokens import IGNORED, Pair, padded, pair
from llmops_resources.errors import Unavailable

BATCH = 32
#: Settings of a model's own generation under which greedy decoding is the argmax, beside None.
_CHANGES_NOTHING: Final[dict[str, tuple[Any, ...]]] = {
    "repetition_penalty": (1.0,), "encoder_repetition_penalty": (1.0,), "no_repeat_ngram_size": (0,),
    "min_length": (0,), "min_new_tokens": (), "bad_words_ids": (), "suppress_tokens": (), "begin_suppress_tokens": (),
    "forced_bos_token_id": (), "forced_eos_token_id": (), "exponential_decay_length_penalty": (), "num_beams": (1,),
    "sequence_bias": (), "guidance_scale": (1.0,), "renormalize_logits": (False, True), "penalty_alpha": (),
    "diversity_penalty": (0.0,), "remove_invalid_values": (False,), "watermarking_config": (),
    "prompt_lookup_num_tokens": (),
}  # fmt: skip
Turns: TypeAlias = list[dict[str, str]]  # of a chat, each with `role` and `content`
Prompt: TypeAlias = str | Turns


@dataclass(frozen=True)
class Answer:
    """What the model answered. `text` is missing when the prompt leaves no room for an answer in the context."""

    text: str | None
    tokens: int
    finished: bool  # by itself, and not cut off after `max_new_tokens`


def load(folder: Path) -> tuple[Any, Any]:
    """The model and the tokenizer whose files lie in a folder. Raises Unavailable when there are none."""
    if not (folder / "config.json").is_file():
        raise Unavailable(f"there is no model in {folder}", remedy="put the model's files there")
    disable_progress_bar()  # type: ignore[no-untyped-call]  # ours are events
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def chat_prompt(tokenizer: Any, prompt: Prompt) -> str:
    """The prompt as the model wants it: through its chat template where it has one, else as it is."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not tokenizer.chat_template:
        return "\n\n".join(turn["content"] for turn in turns)
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def encoded(tokenizer: Any, prompt: Prompt) -> list[int]:
    """The tokens of a prompt as the model wants it."""
    ids: list[int] = tokenizer(chat_prompt(tokenizer, prompt), add_special_tokens=False)["input_ids"]
    return ids


def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    progress: Callable[[float], None],
    once: Once = afresh,
) -> list[Answer]:
    """One greedy answer a prompt, in the order of the prompts; identical to answering them one by one.

    Each batch is a part of the work that `once` does: the same prompts are in the same batches, so that the answers
    of a run that goes on where another died are those of a run that never stopped.
    """
    asked = [encoded(tokenizer, prompt) for prompt in prompts]
    room = context(model) - max_new_tokens
    order = sorted((index for index, ids in enumerate(asked) if 0 < len(ids) <= room), key=lambda i: len(asked[i]))
    result = [Answer(None, 0, False)] * len(prompts)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        generate = partial(_greedy, model, tokenizer, [asked[i] for i in rows], max_new_tokens)
        ends = _ends(model, tokenizer)
        for index, ids in zip(rows, once(f"answers/{start}", generate), strict=True):
            length = next((at for at, token in enumerate(ids) if token in ends), None)
            text = tokenizer.decode(ids[:length], skip_special_tokens=True).strip()
            result[index] = Answer(text, len(ids) if length is None else length, length is not None)
        progress((start + len(rows)) / len(order))
    return result


def answer_losses(
    model: Any, tokenizer: Any, prompts: Sequence[str], expected: Sequence[str], once: Once = afresh
) -> list[tuple[float, int] | None]:
    """For each pair the summed loss (nats) of the expected answer after its prompt, and over how many tokens.

    The end of the turn counts as a token of the answer. A pair longer than the context is read in windows of the
    context's length that begin half of it apart, and each token counts once, in the first window that has it. None
    where there is no prompt or no answer.
    """
    pairs = [_pair(tokenizer, prompt, answer) for prompt, answer in zip(prompts, expected, strict=True)]
    limit = context(model)
    windows = [
        (index, window)
        for index, example in enumerate(pairs)
        if 0 < example.prompt < len(example.ids)
        for window in sliding(example, limit)
    ]
    windows.sort(key=lambda each: len(each[1].ids))
    totals: dict[int, tuple[float, int]] = {}
    for start in range(0, len(windows), BATCH):
        batch = windows[start : start + BATCH]
        losses = once(f"losses/{start}", partial(_losses, model, tokenizer, [window for _, window in batch]))
        for (index, _), (loss, count) in zip(batch, losses, strict=True):
            before = totals.get(index, (0.0, 0))
            totals[index] = (before[0] + loss, before[1] + count)
    return [totals.get(index) for index in range(len(pairs))]


def sliding(example: Pair, limit: float) -> list[Pair]:
    """The windows of a pair in which its answer is read: the pair itself where it fits into `limit` tokens.

    Else windows of `limit` tokens, each beginning `stride(limit)` tokens after the one before; in each, what is
    learned is what no earlier window had. Windows without any of the answer are left out.
    """
    if len(example.ids) <= limit:
        return [example]
    width, step = int(limit), stride(limit)
    windows, read = [], example.prompt
    for begin in range(0, len(example.ids) - width + step, step):
        end = min(begin + width, len(example.ids))
        if end > read:
            windows.append(Pair(example.ids[begin:end], read - begin))
            read = end
    return windows


def stride(limit: float) -> int:
    """How far apart the windows of `limit` tokens begin: every later token is read after at least half a window."""
    return max(1, int(limit) // 2)


def _losses(model: Any, tokenizer: Any, examples: Sequence[Pair]) -> list[tuple[float, int]]:
    """The summed loss and the number of tokens of each example, in order of length; on a CPU some at a time."""
    most = READ_AT_ONCE if model.device.type == "cpu" else len(examples) * len(examples[-1].ids)
    found: list[tuple[float, int]] = []
    while len(found) < len(examples):
        first = len(found)
        fitting = [at for at in range(first, len(examples)) if (at + 1 - first) * len(examples[at].ids) <= most]
        found += _losses_together(model, tokenizer, examples[first : fitting[-1] + 1 if fitting else first + 1])
    return found


def _losses_together(model: Any, tokenizer: Any, examples: Sequence[Pair]) -> list[tuple[float, int]]:
    batch = padded(examples, tokenizer.pad_token_id or 0)
    with torch.inference_mode():
        logits = model(input_ids=batch.inputs.to(model.device), use_cache=False).logits[:, :-1].float()
    labels = batch.labels[:, 1:].to(model.device)
    losses = cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none").sum(dim=1)
    return list(zip(losses.tolist(), (labels != IGNORED).sum(dim=1).tolist(), strict=True))


def _pair(tokenizer: Any, prompt: str, answer: str) -> Pair:
    if tokenizer.chat_template:
        return pair(tokenizer, prompt, answer)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return Pair((*ids, *tokenizer(" " + answer, add_special_tokens=False)["input_ids"]), len(ids))


def _greedy(model: Any, tokenizer: Any, rows: list[list[int]], max_new_tokens: int) -> list[list[int]]:
    """The generated ids of each row, an end token, where one came, the last of them."""
    if _is_plain(model):
        return _together(model, rows, _ends(model, tokenizer), max_new_tokens)
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


def _together(model: Any, rows: list[list[int]], ends: set[int], max_new_tokens: int) -> list[list[int]]:
    """The rows in one decoding batch, which those leave that are done. How all of them begin is read once."""
    batch, said, places = DecodingBatch(model), [list[int]() for _ in rows], list(range(len(rows)))
    batch.join(rows, [_common(min(rows), max(rows))] * len(rows))
    while places:
        tokens: list[int] = batch.logits.argmax(-1).tolist()
        for row in reversed(range(len(places))):
            answer = said[places[row]]
            answer.append(tokens[row])
            if tokens[row] in ends or len(answer) == max_new_tokens:
                batch.leave(row)  # and the last row takes its place
                for column in (places, tokens):
                    column[row] = column[-1]
                    column.pop()
        if places:
            batch.advance(tokens)
    return said


def _common(one: list[int], other: list[int]) -> int:
    """How many tokens two texts begin with alike; of the first and the last in order, those that all between do."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@lru_cache(maxsize=4)
def _is_plain(model: Any) -> bool:
    """Whether the next token is the likeliest and no other, and the model is one that decodes in a batch."""
    config = model.generation_config
    if any(getattr(config, name, None) not in {None, *usual} for name, usual in _CHANGES_NOTHING.items()):
        return False
    try:
        check(model)
    except Exception:  # noqa: BLE001  whatever such a model cannot do, `generate` may
        return False
    return True


def _ends(model: Any, tokenizer: Any) -> set[int]:
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return {token for token in (*ids, tokenizer.eos_token_id) if token is not None}


def context(model: Any) -> float:
    """How many tokens the model can look at; infinite where it does not say."""
    return getattr(model.config, "max_position_embeddings", None) or math.inf
