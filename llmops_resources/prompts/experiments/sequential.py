"""Differences between two variants, with intervals that hold however often one looks.

Users of the two variants are paired in the order in which they arrived (several to one where the weights are uneven),
and each pair gives one difference. Within a variant the users are independent draws, whatever decided how many there
are, so the differences are too: that holds for fixed weights, for weights that follow the data, and for any rule of
stopping.

For what lies in [0, 1] (thumbs, scores, whether a call failed) the interval is the set of means that a betting test
cannot refute: exact, without an assumption on the distribution (Waudby-Smith and Ramdas 2024, "Estimating means of
bounded random variables by betting", JRSS B 86; by Ville's inequality it holds for all sample sizes at once). For what
has no bound (latency, cost) it is an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
2024, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52, theorem 2.2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmops_resources.evaluation import betting

Figures = NDArray[np.float64]
#: The pairs at which the asymptotic interval is tightest, and below which it says nothing yet.
_TUNED_FOR: Final = 500
_FEWEST: Final = 50
_MOST_PER_BLOCK: Final = 20


@dataclass(frozen=True)
class Interval:
    """A mean of `n` differences and the bounds between which the true one lies."""

    mean: float
    low: float
    high: float
    n: int


def block(control: float, challenger: float) -> tuple[int, int]:
    """How many users of each are taken together, for these weights."""
    ratio = min(max(round(max(control, challenger) / min(control, challenger)), 1), _MOST_PER_BLOCK)
    return (ratio, 1) if control >= challenger else (1, ratio)


def differences(control: Sequence[float], challenger: Sequence[float], sizes: tuple[int, int] = (1, 1)) -> Figures:
    """Challenger minus control, block by block in the order given; what fills no block waits."""
    first, second = sizes
    blocks = min(len(control) // first, len(challenger) // second)
    base = np.asarray(control[: blocks * first], dtype=float).reshape(blocks, first).mean(axis=1)
    other = np.asarray(challenger[: blocks * second], dtype=float).reshape(blocks, second).mean(axis=1)
    return np.asarray(other - base, dtype=float)


def bounded(values: Figures, alpha: float) -> Interval:
    """The interval of differences in [-1, 1] at confidence 1 - alpha; without differences it is all of [-1, 1]."""
    if not len(values):
        return Interval(0.0, -1.0, 1.0, 0)
    upward, downward = (values + 1) / 2, (1 - values) / 2
    low = 2 * betting.lower_bound(upward, alpha / 2) - 1
    high = 1 - 2 * betting.lower_bound(downward, alpha / 2)
    return Interval(float(values.mean()), low, high, len(values))


def p_value(values: Figures) -> float:
    """Against "the mean of differences in [-1, 1] is 0", to either side and at any time."""
    tails = (betting.p_value((values + 1) / 2, 0.5), betting.p_value((1 - values) / 2, 0.5))
    return min(1.0, 2 * min(tails))


def unbounded(values: Figures, alpha: float) -> Interval:
    """The asymptotic interval of differences of any size; without bounds as long as they are too few."""
    n = len(values)
    mean = float(values.mean()) if n else 0.0
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    if n < _FEWEST or spread == 0.0:
        return Interval(mean, -math.inf, math.inf, n)
    half = spread * _radius(n, alpha)
    return Interval(mean, mean - half, mean + half, n)


def _radius(n: int, alpha: float) -> float:
    """Half the width in standard deviations."""
    tail = -2 * math.log(alpha)
    scaled = n * (tail + math.log(tail) + 1) / _TUNED_FOR + 1
    return math.sqrt(2 * scaled / (n * (scaled - 1)) * math.log(math.sqrt(scaled) / alpha))
