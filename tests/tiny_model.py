"""A model folder with random weights and its own tokenizer, made in a moment, for tests that need something to run."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llmops_assets.training.tokens import prepare_for_chat, train_tokenizer

TEXTS = [f"What follows {n}? It is {n + 1}. Grüße, 안녕." for n in range(100)]


def write_tiny_model(folder: Path, *, chat: bool = True, context_length: int = 128, seed: int = 3) -> Path:
    """A two-layer Llama over a 300-token vocabulary; with `chat` it has a chat template. The same bytes for a seed."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(TEXTS, 300, context_length)
    if chat:
        prepare_for_chat(tokenizer)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        initializer_range=0.5,  # large, so that different prompts get visibly different answers
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    return folder
