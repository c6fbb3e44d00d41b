"""Whether users arrived in the planned proportions: a mismatch means that the experiment is broken, not that it is won.

A sequential test of multinomial counts (Lindon and Malek 2022, "Anytime-valid inference for multinomial count data",
NeurIPS): the Bayes factor of a Dirichlet mixture around the planned shares against the shares themselves. Under the
plan its expectation is 1 at every stopping time, so 1/factor is a p-value however often one looks. Every allocation
starts a factor of its own, and the product of them tests all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

#: Below this p-value the proportions are called a mismatch.
ALPHA: Final = 0.01
#: Strength of the mixture around the plan: larger finds smaller deviations, and those later.
_STRENGTH: Final = 100.0


def p_value(periods: Sequence[tuple[Mapping[str, int], Mapping[str, float]]]) -> float:
    """Against "users were assigned by these shares"; each period is (users, shares) by variant."""
    return math.exp(-max(0.0, sum(_log_factor(counts, shares) for counts, shares in periods)))


def _log_factor(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    whole = sum(counts.values())
    factor = math.lgamma(_STRENGTH) - math.lgamma(_STRENGTH + whole)
    for variant, share in shares.items():
        count, prior = counts.get(variant, 0), _STRENGTH * share
        factor += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return factor
