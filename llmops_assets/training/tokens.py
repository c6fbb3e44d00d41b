"""From text to token ids: an own tokenizer, chat templates, question-answer pairs, and batches of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from llmops_resources.training.architecture import SPECIAL_TOKENS

END_OF_TEXT, PAD, _, USER, ASSISTANT, END_OF_TURN = SPECIAL_TOKENS
IGNORED = -100  # the label that the loss leaves out, PyTorch's default
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize + ': ' + message['content'] | trim }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class Pair:
    """One tokenized example: `ids` is prompt and answer, of which the first `prompt` are not learned."""

    ids: tuple[int, ...]
    prompt: int


@dataclass(frozen=True)
class Batch:
    """`inputs` and `labels` of shape `(sequences, tokens)`; labels are `IGNORED` where nothing is learned.

    `positions`, of the same shape, begins at 0 wherever another text begins within a sequence; None: none does.
    """

    inputs: Tensor
    labels: Tensor
    positions: Tensor | None = None

    @property
    def learned(self) -> int:
        """How many tokens the mean loss of this batch is over (the first of a sequence has nothing before it)."""
        return int((self.labels[:, 1:] != IGNORED).sum())


def train_tokenizer(texts: Iterable[str], vocab_size: int, context_length: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (Sennrich et al. 2016, on bytes as in GPT-2), so that no text is unknown to it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        additional_special_tokens=list(SPECIAL_TOKENS[2:]),
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
    )


def prepare_for_chat(tokenizer: PreTrainedTokenizerBase) -> None:
    """Gives a tokenizer without a chat template one: with our turn tokens where it has them, else in plain words."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template:
        return
    if set(SPECIAL_TOKENS) <= set(tokenizer.get_vocab()):
        tokenizer.chat_template = CHAT_TEMPLATE
        tokenizer.eos_token = END_OF_TURN
    else:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE


def pair(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> Pair:
    """A question and its answer through the chat template, the end of the answer's turn included."""
    return pairs(tokenizer, [(prompt, answer)])[0]


def pairs(tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[str, str]]) -> list[Pair]:
    """Questions and answers as `pair` makes one, tokenized together."""
    befores, rests = [], []
    for prompt, answer in rows:
        asked = [{"role": "user", "content": prompt}]
        before = str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True))
        both = str(tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": answer}], tokenize=False))
        # A template may end a turn with more than the end token (a line break): that much is not worth learning.
        rest = both[len(before) :].rstrip("\n") if both.startswith(before) else f"{answer}{tokenizer.eos_token}"
        befores.append(before)
        rests.append(rest)
    first = tokenizer(befores, add_special_tokens=False)["input_ids"]
    second = tokenizer(rests, add_special_tokens=False)["input_ids"]
    return [Pair((*asked, *told), len(asked)) for asked, told in zip(first, second, strict=True)]


def padded(pairs: Sequence[Pair], pad: int) -> Batch:
    """Pairs as one batch, padded on the right, where a causal model never looks, so no attention mask is needed."""
    width = max(len(pair.ids) for pair in pairs)
    inputs = torch.full((len(pairs), width), pad, dtype=torch.long)
    labels = torch.full((len(pairs), width), IGNORED, dtype=torch.long)
    for row, example in enumerate(pairs):
        ids = torch.tensor(example.ids, dtype=torch.long)
        inputs[row, : len(ids)] = ids
        labels[row, example.prompt : len(ids)] = ids[example.prompt :]
    return Batch(inputs, labels)
