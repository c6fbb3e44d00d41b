"""A model folder, verified and loaded. torch is imported here and not before."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from llmops_assets.decoding import DecodingBatch, check
from llmops_resources.blobs.values import Manifest, StoredFile

CACHE_SHARE: Final = 0.5  # of the memory that is left, for the key-value cache


class Changed(Exception):
    """The folder's files are not those that the digest names."""


@dataclass(frozen=True)
class Loaded:
    """A model that can answer, and what is known of it."""

    model: Any
    tokenizer: Any
    context_length: int
    default_temperature: float
    ends: frozenset[int]

    def encode(self, text: str) -> list[int]:
        """Token ids, special tokens in the text included. Safe from any thread."""
        return list(self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens, without special ones. Safe from any thread."""
        return str(self.tokenizer.backend_tokenizer.decode(list(ids), skip_special_tokens=True))

    def spell(self, token: int) -> str:
        """One token's own text; bytes that are no whole character are U+FFFD."""
        return str(self.tokenizer.backend_tokenizer.decode([token], skip_special_tokens=False))

    @cached_property
    def special(self) -> dict[str, int]:
        """The tokens that no text can spell, with their ids."""
        return dict(self.tokenizer.get_added_vocab())


def load(folder: Path, digest: str | None) -> Loaded:
    """Read the folder. Raises Changed when its files do not have the digest, ValueError or OSError for a bad model."""
    if digest is not None and (found := digest_of(folder)) != digest:
        raise Changed(f"its files have the digest {found}, and {digest} was approved")
    disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    check(model)
    configured = model.generation_config
    # A model that was saved for greedy decoding is served so, unless a request asks for more.
    greedy = configured.do_sample is False or configured.temperature == 0
    ends = configured.eos_token_id
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        context_length=getattr(model.config, "max_position_embeddings", None) or 2048,
        default_temperature=0.0 if greedy else float(configured.temperature or 1.0),
        ends=frozenset({*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None}),
    )


def digest_of(folder: Path) -> str:
    """The digest of a folder's files, as the catalog names them."""
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        files.append(StoredFile(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=sha256))
    return Manifest.of(files).digest


def cache_columns(model: Any, limit: int | None) -> int:
    """How many tokens the key-value cache may hold: half of what is left of the memory, in bytes `limit` at most."""
    batch = DecodingBatch(model)
    batch.join([[0]])
    if model.device.type == "cuda":
        left = torch.cuda.mem_get_info()[0]
    else:
        left = psutil.virtual_memory().available
        if limit is not None:
            left = min(left, max(limit - psutil.Process().memory_info().rss, 0))
    # Buffers grow in steps and are copied while they grow: they may be twice as large as what they hold.
    return max(1, int(left * CACHE_SHARE / 2 / max(batch.bytes_per_token, 1)))
