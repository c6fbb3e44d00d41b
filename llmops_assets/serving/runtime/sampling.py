"""Choosing the next token of every row at once: greedy, or drawn from the nucleus (Holtzman et al. 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llmops_assets.serving.runtime.requests import Likely, Sampling


def choose(logits: Tensor, ways: Sequence[Sampling]) -> list[int]:
    """The next token of each row of `logits` (rows, vocabulary)."""
    tokens: list[int] = logits.argmax(dim=-1).tolist()
    # A row is drawn the same way whatever its neighbours want: the sums of a sorted row round otherwise.
    for nucleus in (False, True):
        rows = [r for r, way in enumerate(ways) if not way.greedy and (way.top_p < 1) == nucleus]
        if rows:
            for row, token in zip(rows, _draw(logits[rows], [ways[r] for r in rows], nucleus), strict=True):
                tokens[row] = token
    return tokens


def likely(logits: Tensor, token: int, count: int) -> Likely:
    """What one row of logits (vocabulary) says of a token, and its `count` likeliest."""
    scores = torch.log_softmax(logits, dim=-1)
    values, ids = scores.topk(min(count, scores.numel()))
    return Likely(float(scores[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))


def _draw(logits: Tensor, ways: Sequence[Sampling], nucleus: bool) -> list[int]:
    """Inverse transform sampling: one uniform number a row."""
    temperature = torch.tensor([[way.temperature] for way in ways], device=logits.device)
    probabilities = torch.softmax(logits / temperature, dim=-1).double()
    order = None
    if nucleus:
        probabilities, order = probabilities.sort(descending=True, stable=True)
        limit = torch.tensor([[way.top_p] for way in ways], device=logits.device)
        before = probabilities.cumsum(-1) - probabilities
        before[:, 0] = -1  # the likeliest token always stays
        probabilities = probabilities.masked_fill(before >= limit, 0.0)
    mass = probabilities.cumsum(-1)
    draw = torch.tensor([[way.source.random()] for way in ways], device=logits.device, dtype=torch.double)
    # Right: a draw of exactly 0 must not choose a token of probability 0.
    chosen = torch.searchsorted(mass, draw * mass[:, -1:], right=True).clamp_(max=logits.size(-1) - 1)
    picked: list[int] = (chosen if order is None else order.gather(1, chosen))[:, 0].tolist()
    return picked
