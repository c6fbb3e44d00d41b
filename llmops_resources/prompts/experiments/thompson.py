"""Weights that follow what is known: Thompson sampling, in batches, with a floor so that nobody is given up unseen.

The weight of a variant is the probability that it is the best (Thompson 1933; Chapelle and Li 2011), over Beta
posteriors. A score in [0, 1] counts as that much of a success and the rest of a failure (Agrawal and Goyal 2012).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

#: The least share that any variant keeps, and how many draws the probabilities are counted in.
FLOOR: Final = 0.05
_DRAWS: Final = 20_000


def weights(ratings: Mapping[str, tuple[int, float]], *, seed: int) -> dict[str, float]:
    """The share of users that each variant gets next; they add up to 1.

    `ratings`: how many each has and their sum, each in [0, 1]. The same seed gives the same weights.
    """
    names = list(ratings)
    rng = np.random.default_rng(seed)
    drawn = np.array([rng.beta(1 + total, 1 + count - total, _DRAWS) for count, total in ratings.values()])
    best = np.bincount(drawn.argmax(axis=0), minlength=len(names)) / _DRAWS
    floored = FLOOR + (1 - FLOOR * len(names)) * best
    return {name: float(share) for name, share in zip(names, floored, strict=True)}
