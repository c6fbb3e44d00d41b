"""False positives and power of prompt experiments under peeking, beside a z-test at every look.

`python -m benchmarks.prompt_experiments [--experiments 2000] [--users 3000]`. Every experiment assigns its users as the
gateway does, everybody rates once, and it is looked at every LOOK users. A/A: both variants are liked alike; a false
positive is a look at which one is called better or worse. Power is the share of experiments that find a better variant,
with the median of users until then; the z-test's own column is beside it, though what it finds cannot be trusted.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from llmops_resources.prompts.experiments import assignment, sequential

LOOK: Final = 50
ALPHA: Final = 0.05
SHARES: Final = (("a", 0.5), ("b", 0.5))
Figures = NDArray[np.float64]
Rate = Callable[[np.random.Generator, int, float], Figures]


@dataclass(frozen=True)
class Found:
    """Shares of experiments in which a look found a difference, and the median of users until the first one."""

    ours: float
    naive: float
    users: float


def thumbs(rng: np.random.Generator, users: int, mean: float) -> Figures:
    """Up with probability `mean`."""
    return (rng.random(users) < mean).astype(float)


def scores(rng: np.random.Generator, users: int, mean: float) -> Figures:
    """Quarters from 0 to 1, spread as people's scores are."""
    return np.round(rng.beta(4 * mean, 4 * (1 - mean), users) * 4) / 4


def run(rate: Rate, base: float, better: float, *, experiments: int, users: int, seed: int) -> Found:
    """Many experiments in which the challenger is liked by `base` + `better`."""
    rng, ours, naive, until = np.random.default_rng(seed), 0, 0, []
    for number in range(experiments):
        salt = f"{seed}.{number}".encode()
        names = (assignment.subject(salt, f"user {user}") for user in range(users))
        second = np.array([assignment.assign(name, SHARES) == "b" for name in names])
        ratings = np.where(second, rate(rng, users, base + better), rate(rng, users, base))
        looks = range(LOOK, users + 1, LOOK)
        first = next((n for n in looks if _differs(ratings[:n], second[:n])), None)
        naive += any(_naive(ratings[:n], second[:n]) for n in looks)
        if first is not None:
            ours += 1
            until.append(first)
    return Found(ours / experiments, naive / experiments, statistics.median(until) if until else float("nan"))


def _differs(ratings: Figures, second: NDArray[np.bool_]) -> bool:
    values = sequential.differences(ratings[~second].tolist(), ratings[second].tolist())
    return sequential.p_value(values) <= ALPHA


def _naive(ratings: Figures, second: NDArray[np.bool_]) -> bool:
    one, other = ratings[~second], ratings[second]
    if min(len(one), len(other)) < 2:
        return False
    error = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    return bool(error > 0 and 2 * stats.norm.sf(abs(other.mean() - one.mean()) / error) <= ALPHA)


def needed(base: float, better: float) -> int:
    """Users of both variants that one z-test planned for 80 % power needs."""
    spread = base * (1 - base) + (base + better) * (1 - base - better)
    per_variant = (stats.norm.isf(ALPHA / 2) + stats.norm.isf(0.2)) ** 2 * spread / better**2
    return 2 * int(np.ceil(per_variant))


def main() -> None:
    """Print the figures; the exit status is 1 when false positives are above 5 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=2_000)
    parser.add_argument("--users", type=int, default=3_000)
    asked = parser.parse_args()
    print(f"a look every {LOOK} users, {asked.users:,} users at most (load {os.getloadavg()[0]:.0f})")
    worst = 0.0
    for name, rate, base in (("thumbs", thumbs, 0.6), ("thumbs", thumbs, 0.9), ("scores", scores, 0.6)):
        found = run(rate, base, 0.0, experiments=asked.experiments, users=asked.users, seed=1)
        worst = max(worst, found.ours)
        print(f"  {asked.experiments:,} A/A, {name} {base}: false positives {found.ours:.4f}, z-test {found.naive:.4f}")
    for better in (0.05, 0.1, 0.15):
        found = run(thumbs, 0.6, better, experiments=asked.experiments // 5, users=asked.users, seed=2)
        print(
            f"  {asked.experiments // 5:,} A/B, thumbs 0.6 and {0.6 + better:.2f}: found {found.ours:.2f} after "
            f"{found.users:,.0f} users (median); z-test at every look {found.naive:.2f}; one planned z-test needs "
            f"{needed(0.6, better):,} users for 0.80"
        )
    if worst > ALPHA:
        sys.exit(f"false positives {worst:.4f} are above {ALPHA}")


if __name__ == "__main__":
    main()
