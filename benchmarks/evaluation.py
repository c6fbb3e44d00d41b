"""Answers for an evaluation: our length-sorted, left-padded batches beside one `generate` call a prompt.

The same model, prompts, greedy decoding and limits in the same process, in interleaved rounds; CPU seconds, so that
other work on the machine changes little. The answers must be the same text for every prompt, or the program fails.

    python benchmarks/evaluation.py [--prompts 128] [--tokens 40] [--rounds 3] [--threads 1]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llmops_assets.evaluation.generate import answers, chat_prompt
from llmops_assets.training.tokens import prepare_for_chat, train_tokenizer

SHAPES = {"1.0M parameters": (128, 4), "6.5M parameters": (256, 8)}
TEXTS = [f"What follows {n}? It is {n + 1}, and then {n + 2} comes." for n in range(2_000)]


def main() -> None:
    """Prints a line of JSON a shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("prompts", 128), ("tokens", 40), ("rounds", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    tokenizer = train_tokenizer(TEXTS, 2_000, 512)
    prepare_for_chat(tokenizer)
    prompts = [f"What {'really ' * (n * 7 % 40)}follows {n}?" for n in range(asked.prompts)]
    for shape, (width, layers) in SHAPES.items():
        model = fresh(tokenizer, width, layers)
        batched, naive = [], []
        for _ in range(asked.rounds):
            seconds, ours = measured(lambda: ours_of(model, tokenizer, prompts, asked.tokens))  # noqa: B023
            batched.append(seconds)
            seconds, theirs = measured(lambda: naive_of(model, tokenizer, prompts, asked.tokens))  # noqa: B023
            naive.append(seconds)
            if ours != theirs:
                differ = sum(a != b for a, b in zip(ours, theirs, strict=True))
                raise SystemExit(f"{differ} of {len(prompts)} answers differ")
        tokens = sum(len(tokenizer(text)["input_ids"]) for text in ours)
        ratios = [slow / fast for slow, fast in zip(naive, batched, strict=True)]
        print(
            json.dumps(
                {
                    "model": shape,
                    "prompts": len(prompts),
                    "identical": len(prompts),
                    "distinctAnswers": len(set(ours)),
                    "tokens": tokens,
                    "batchedCpuSeconds": round(statistics.median(batched), 2),
                    "naiveCpuSeconds": round(statistics.median(naive), 2),
                    "times": round(statistics.median(ratios), 1),
                    "rounds": [round(ratio, 1) for ratio in ratios],
                }
            ),
            flush=True,
        )


def fresh(tokenizer: Any, width: int, layers: int) -> Any:
    """A model of random weights, spread wide enough that different prompts get different answers."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512, tie_word_embeddings=True,
        initializer_range=0.2, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    model.generation_config.do_sample = False
    return model.eval()


def measured(work: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """CPU seconds of this process, and what the work came to."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def ours_of(model: Any, tokenizer: Any, prompts: list[str], tokens: int) -> list[str]:
    """What the evaluation program does."""
    return [str(answer.text) for answer in answers(model, tokenizer, prompts, tokens, lambda _: None)]


def naive_of(model: Any, tokenizer: Any, prompts: list[str], tokens: int) -> list[str]:
    """The loop of most examples: one `generate` call a prompt."""
    texts = []
    for prompt in prompts:
        inputs = tokenizer(chat_prompt(tokenizer, prompt), add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], do_sample=False,
                max_new_tokens=tokens, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        made = output[0, inputs["input_ids"].size(1) :]
        texts.append(tokenizer.decode(made, skip_special_tokens=True).strip())
    return texts


if __name__ == "__main__":
    main()
