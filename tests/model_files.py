"""The files of a model that the airlock lets in, as bytes, without any library that makes models."""

import json
import struct
from pathlib import Path

VOCABULARY = 64
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": VOCABULARY, "hidden_size": 32}
TOKENIZER = {"model": {"type": "BPE", "vocab": {f"t{n}": n for n in range(VOCABULARY)}, "merges": []}}


def weights(more_bytes: int = 0) -> bytes:
    """A safetensors file: an embedding, and a second tensor of `more_bytes` bytes if any are asked for."""
    embedding = VOCABULARY * 32 * 4
    header = {"model.embed_tokens.weight": {"dtype": "F32", "shape": [VOCABULARY, 32], "data_offsets": [0, embedding]}}
    if more_bytes:
        ends = [embedding, embedding + more_bytes]
        header["rest"] = {"dtype": "U8", "shape": [more_bytes], "data_offsets": ends}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pattern = bytes(range(256)) * (-(-(embedding + more_bytes) // 256))
    return struct.pack("<Q", len(text)) + text + pattern[: embedding + more_bytes]


def model_files(more_bytes: int = 0) -> dict[str, bytes]:
    """config.json, tokenizer.json and model.safetensors."""
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": json.dumps(TOKENIZER).encode(),
        "model.safetensors": weights(more_bytes),
    }


def write_model(folder: Path, more_bytes: int = 0) -> list[Path]:
    """The same files in a folder; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in model_files(more_bytes).items():
        (folder / name).write_bytes(content)
    return [folder / name for name in model_files()]
