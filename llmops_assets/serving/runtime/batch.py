"""The tensors of the running batch: one key-value cache for all requests, padded on the left."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache


class RunningBatch:
    """Rows are requests in the order they joined.

    The cache is, a layer, two tensors of shape (rows, heads, columns, head size); `_mask` (rows, columns) is 1 where a
    column holds a token of that row; `_logits` (rows, vocabulary) are for the next token.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.clear()

    def clear(self) -> None:
        """No rows."""
        self._cache: Any = None
        self._mask: Tensor = torch.empty(0, 0, dtype=torch.long)
        self._logits: Tensor = torch.empty(0, 0)

    def warm_up(self) -> None:
        """Runs the model once, so that the first request does not pay for lazy initialization."""
        self.join([[0]])
        self.clear()

    @torch.inference_mode()
    def join(self, prompts: Sequence[Sequence[int]]) -> None:
        """Reads the prompts and adds them as rows."""
        width = max(map(len, prompts))
        device = self._model.device
        ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        # Without a config every layer keeps all it has seen; attention windows are then up to the mask alone.
        cache: Any = DynamicCache()
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1].float()
        if self._cache is None:
            self._cache, self._mask, self._logits = cache, mask, logits
            return
        columns = max(self._mask.size(1), width)
        for mine, new in zip(self._cache.layers, cache.layers, strict=True):
            mine.keys = torch.cat([_widen(mine.keys, columns), _widen(new.keys, columns)])
            mine.values = torch.cat([_widen(mine.values, columns), _widen(new.values, columns)])
        self._mask = torch.cat([pad(m, (columns - m.size(1), 0)) for m in (self._mask, mask)])
        self._logits = torch.cat([self._logits, logits])

    def keep(self, rows: Sequence[int]) -> None:
        """Drops the other rows, and the columns on the left that none of these uses."""
        if not rows:
            self.clear()
            return
        index = torch.tensor(rows, device=self._mask.device)
        mask = self._mask[index]
        first = int(mask.any(dim=0).int().argmax())
        self._mask, self._logits = mask[:, first:], self._logits[index]
        for layer in self._cache.layers:
            layer.keys = layer.keys[index, :, first:]
            layer.values = layer.values[index, :, first:]

    @torch.inference_mode()
    def advance(self, tokens: Sequence[int]) -> None:
        """Appends one token to each row and computes what may follow."""
        device = self._mask.device
        positions = self._mask.sum(dim=1, keepdim=True)
        self._mask = pad(self._mask, (0, 1), value=1)
        output = self._model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._logits = output.logits[:, -1].float()

    def choose(self, row: int, temperature: float, top_p: float, random: torch.Generator | None) -> int:
        """The next token of a row: without `random` the likeliest, else one of the nucleus (Holtzman et al. 2020)."""
        logits = self._logits[row]
        if random is None:
            return int(logits.argmax())
        probabilities, order = torch.softmax(logits / temperature, dim=-1).sort(descending=True)
        before = probabilities.cumsum(0) - probabilities
        nucleus = torch.where(before < top_p, probabilities, 0.0).cpu()
        nucleus[0] = probabilities[0]  # even where top_p is 0
        return int(order[torch.multinomial(nucleus, 1, generator=random)])

    def random(self, seed: int | None) -> torch.Generator:
        """A request's own source of randomness: the same seed draws the same tokens, whoever else is running."""
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        return generator


def _widen(tensor: Tensor, columns: int) -> Tensor:
    """Pads keys or values (rows, heads, columns, head size) on the left of the columns."""
    return pad(tensor, (0, 0, columns - tensor.size(2), 0))
