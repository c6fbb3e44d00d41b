"""Tests of means of bounded scores that hold for every sample size and however often one looks.

No distribution is assumed but that scores lie in [0, 1] and are drawn independently: a gambler who bets against "the
mean is at most m" cannot multiply the stake except by luck, so 1/capital is a p-value (Waudby-Smith and Ramdas 2023,
"Estimating means of bounded random variables by betting", section 4; the mixture over fixed bets is their dKelly).
Looks share the 5 % by the convergent series of 1/k²: a union bound, which holds though looks share their samples.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

ALPHA: Final = 0.05
#: Shares of the largest bet that cannot lose everything at once; small ones find small effects in many samples.
BETS: Final = np.geomspace(0.002, 0.95, 24)
Scores = NDArray[np.float64]


def spent(look: int) -> float:
    """The part of ALPHA that look number `look`, from 1, may use; all looks together use ALPHA, and no look none."""
    return ALPHA * 6 / (math.pi * look) ** 2 if look else 0.0


def p_value(scores: Scores, mean: float) -> float:
    """Against "the mean of scores in [0, 1] is at most `mean`"; 1 where nothing speaks against it.

    The capital is the mixture of the products of 1 - c + c·x/mean over the bets c, so the order does not matter.
    """
    if not len(scores) or mean >= 1:
        return 1.0
    distinct, counts = np.unique(scores, return_counts=True)
    growth = np.log1p(np.outer(BETS, distinct / max(mean, 1e-12) - 1)) @ counts
    log_capital = np.logaddexp.reduce(growth) - math.log(len(BETS))
    return min(1.0, math.exp(-max(log_capital, 0.0)))


def lower_bound(scores: Scores, alpha: float) -> float:
    """The largest mean that is refuted at `alpha`: the true one lies above with probability 1 - alpha or more."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(scores, middle) <= alpha else (low, middle)
    return low


def holm(p_values: Sequence[float]) -> list[float]:
    """The adjusted p-values of Holm (1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted
