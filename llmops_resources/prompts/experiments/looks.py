"""What a look at an experiment reads, and what it finds; `looking.py` computes the one from the other.

Apart from it, since whoever keeps or shows a look needs no numerical library.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from llmops_resources.values import Value


class Standing(StrEnum):
    """What an effect's interval says: surely better or worse than the control, surely not worth it, or not sure yet."""

    BETTER = "better"
    WORSE = "worse"
    NOT_WORTH_IT = "not_worth_it"
    OPEN = "open"


class Hold(StrEnum):
    """Whether a guard rail surely holds, is surely broken, or neither yet."""

    HELD = "held"
    BROKEN = "broken"
    OPEN = "open"


class Guard(StrEnum):
    ERROR_RATE = "error_rate"
    LATENCY = "latency"
    COST = "cost"


class Advice(StrEnum):
    """What to do. `adopt` names a variant; `investigate`: users did not arrive as planned, so nothing else counts."""

    WAIT = "wait"
    ADOPT = "adopt"
    KEEP_CONTROL = "keep_control"
    INVESTIGATE = "investigate"


class Ending(StrEnum):
    """Why an experiment ends, or ended: by one of its rules, by a person, or since a prompt lost its approval."""

    HARM = "harm"
    WINNER = "winner"
    FUTILITY = "futility"
    SIZE = "size"
    DURATION = "duration"
    PERSON = "person"
    WITHDRAWN = "withdrawn"


@dataclass
class Seen:
    """What is known of one variant, a user an entry, in the order in which it became known."""

    ratings: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Period:
    """One allocation: the shares it gave, and the new users of each variant while it held."""

    shares: Mapping[str, float]
    users: Mapping[str, int]


class VariantFigures(Value):
    """`mean` of the ratings, `failed` share of first calls, latency in ms (geometric mean) and cost of first calls."""

    variant: str
    users: int
    ratings: int
    mean: float | None
    failed: float | None
    latency_ms: float | None
    cost: float | None


class Effect(Value):
    """Challenger minus control in the metric; the true difference lies in [low, high], whenever one looks."""

    variant: str
    estimate: float | None
    low: float
    high: float
    p_value: float
    pairs: int
    standing: Standing


class GuardCheck(Value):
    """How much worse than the control: in shares for the error rate, relative for latency and cost; None: too few."""

    variant: str
    guard: Guard
    allowed: float
    estimate: float | None
    low: float | None
    high: float | None
    state: Hold


class Look(Value):
    """Everything a look found. `balance_p` is against "users arrived as planned"; below 0.01 they did not."""

    at: datetime
    users: int
    figures: tuple[VariantFigures, ...]
    effects: tuple[Effect, ...]
    guards: tuple[GuardCheck, ...]
    balance_p: float
    balanced: bool
    advice: Advice
    adopt: str | None
    ending: Ending | None
