"""One answer on its way through the model, and the pieces of it that come out."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

COLDEST: Final = 1e-3  # a lower temperature is greedy, up to what float32 can tell


@dataclass(frozen=True)
class Sampling:
    """How one request draws. The same seed draws the same tokens, whoever else is running."""

    temperature: float
    top_p: float = 1.0
    source: random.Random = field(default_factory=random.Random)

    @property
    def greedy(self) -> bool:
        return self.temperature < COLDEST or self.top_p == 0


@dataclass(frozen=True)
class Likely:
    """The log probability of a chosen token under the model itself, and the likeliest tokens there, best first."""

    chosen: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Piece:
    """A bit of an answer; the last one says why it ended (`stop`, `length`, or `error`).

    `likely` are the tokens since the last piece with their log probabilities, where they were asked for.
    """

    text: str
    tokens: int  # generated so far, the end token included
    finish_reason: str | None = None
    likely: tuple[tuple[int, Likely], ...] = ()


@dataclass(eq=False)
class Audience:
    """Who waits for the answers of one HTTP request. `pieces` come with the number of their answer."""

    pieces: "asyncio.Queue[tuple[int, Piece]]" = field(default_factory=asyncio.Queue)
    gone: bool = False  # set on the event loop, read by the model thread


@dataclass(eq=False)
class Generation:
    """One answer that is wanted. `shared` tokens at the beginning of the prompt are the same for many requests."""

    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling
    audience: Audience
    index: int = 0  # of the answer among those of its HTTP request
    stops: Sequence[str] = ()
    ends: frozenset[int] = frozenset()  # tokens that end it, beside the model's own
    shared: int = 0
    logprobs: int | None = None
    asked_at: float = 0.0  # seconds, monotonic

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt)

    @property
    def most(self) -> int:
        """Tokens that it may have in the cache in the end."""
        return len(self.prompt) + self.max_tokens

    @property
    def gone(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.audience.gone
