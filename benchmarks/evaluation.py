"""Answers for an evaluation: our length-sorted, left-padded batches beside one `generate` call a prompt.

The same model, prompts, greedy decoding and limits in the same process, in interleaved rounds; CPU seconds, so that
other work on the machine changes little. Prompts of 10 to 49 words with nothing in common, and the same behind an
instruction of 40 words. The answers must be the same text for every prompt, or the program fails.

    python benchmarks/evaluation.py [--prompts 128] [--tokens 40] [--rounds 3] [--threads 1]
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llmops_assets.evaluation.generate import answers, chat_prompt
from llmops_assets.training.tokens import prepare_for_chat, train_tokenizer

SHAPES = {"1.0M parameters": (128, 4), "6.5M parameters": (256, 8)}
WORDS = ["What", "really", "follows", "It", "is", "and", "then", "comes", "One", "Two", "Six", "Ten"]
TEXTS = [f"What follows {n}? It is {n + 1}, and then {n + 2} comes." for n in range(2_000)]


def main() -> None:
    """Prints a line of JSON a shape and kind of prompts."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("prompts", 128), ("tokens", 40), ("rounds", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    tokenizer = train_tokenizer(TEXTS, 2_000, 512)
    prepare_for_chat(tokenizer)
    for shape, (width, layers) in SHAPES.items():
        model = fresh(tokenizer, width, layers)
        for kind, instruction in (("nothing in common", 0), ("behind an instruction", 40)):
            found = compared(model, tokenizer, prompts(asked.prompts, instruction), asked.tokens, asked.rounds)
            print(json.dumps({"model": shape, "prompts": asked.prompts, "with": kind, **found}), flush=True)


def prompts(count: int, instruction: int) -> list[str]:
    """Drawn words, 10 to 49 of them, behind so many that are the same for all."""
    draw = random.Random(0)
    before = draw.choices(WORDS, k=instruction)
    return [" ".join([*before, *draw.choices(WORDS, k=10 + number * 7 % 40)]) for number in range(count)]


def compared(model: Any, tokenizer: Any, prompts: list[str], tokens: int, rounds: int) -> dict[str, Any]:
    """Both ways in turns; the medians of their CPU seconds. Exits where an answer differs."""
    batched, naive = [], []
    for _ in range(rounds):
        seconds, ours = measured(lambda: ours_of(model, tokenizer, prompts, tokens))
        batched.append(seconds)
        seconds, theirs = measured(lambda: naive_of(model, tokenizer, prompts, tokens))
        naive.append(seconds)
        if ours != theirs:
            differ = sum(a != b for a, b in zip(ours, theirs, strict=True))
            raise SystemExit(f"{differ} of {len(prompts)} answers differ")
    ratios = [slow / fast for slow, fast in zip(naive, batched, strict=True)]
    return {
        "identical": len(prompts),
        "distinctAnswers": len(set(ours)),
        "tokens": sum(len(tokenizer(text)["input_ids"]) for text in ours),
        "batchedCpuSeconds": round(statistics.median(batched), 2),
        "naiveCpuSeconds": round(statistics.median(naive), 2),
        "times": round(statistics.median(ratios), 1),
        "rounds": [round(ratio, 1) for ratio in ratios],
    }


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
