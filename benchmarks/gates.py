"""False positives of a gate under peeking, beside a paired t-test with the same looks.

A/A: the candidate is as good as the baseline, and the gate asks for better (margin 0), the boundary of what it tests.
Each experiment looks several times, each time with more samples, at several metrics; it is a false positive when any
metric passes at any look. Power is the share
of equal, and of better, models that one look finds not inferior by MARGIN.
"""

import sys
from typing import Final

import numpy as np
from scipy import stats

from llmops_resources.evaluation import betting

EXPERIMENTS, LOOKS, SAMPLES, CONDITIONS = 2_000, 8, 100, 2
MARGIN: Final = 0.1


def false_positives(*, experiments: int, looks: int, samples: int, conditions: int, seed: int) -> tuple[float, float]:
    """(ours, naive): the shares of A/A experiments in which some metric passed at some look."""
    rng, ours, naive = np.random.default_rng(seed), 0, 0
    for _ in range(experiments):
        easy = rng.beta(1, 1, size=(conditions, looks * samples))  # how hard a question is, for both models
        differences = (rng.random(easy.shape) < easy).astype(float) - (rng.random(easy.shape) < easy)
        ours += any(
            min(_adjusted(differences[:, : look * samples], 0.0)) <= betting.spent(look) for look in range(1, looks + 1)
        )
        naive += any(
            np.any(stats.ttest_1samp(differences[:, : look * samples], 0, axis=1, alternative="greater").pvalue <= 0.05)
            for look in range(1, looks + 1)
        )
    return ours / experiments, naive / experiments


def power(*, experiments: int, samples: int, better: float, seed: int) -> float:
    """How often one look finds a model of accuracy 0.6 + `better` not inferior by MARGIN to one of 0.6."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(experiments):
        ours, theirs = (rng.random(samples) < 0.6 + by for by in (better, 0.0))
        differences = ours.astype(float) - theirs.astype(float)
        found += _adjusted(differences[None, :], MARGIN)[0] <= betting.spent(1)
    return found / experiments


def _adjusted(differences: betting.Scores, margin: float) -> list[float]:
    return betting.holm([betting.p_value((row + 1) / 2, (1 - margin) / 2) for row in differences])


def main() -> None:
    """Print the figures; the exit status is 1 when false positives are above 5 %."""
    ours, naive = false_positives(experiments=EXPERIMENTS, looks=LOOKS, samples=SAMPLES, conditions=CONDITIONS, seed=1)
    print(f"{EXPERIMENTS:,} A/A experiments, {LOOKS} looks, {SAMPLES} more samples each, {CONDITIONS} metrics")
    print(f"  false positives  gate {ours:.4f}  paired t-test at every look {naive:.4f}")
    for samples in (200, 500, 1_000, 2_000):
        same, better = (power(experiments=400, samples=samples, better=by, seed=2) for by in (0.0, 0.05))
        print(f"  {samples:5,} samples, margin {MARGIN}: equal models pass {same:.2f}, 5 points better {better:.2f}")
    if ours > betting.ALPHA:
        sys.exit(f"false positives {ours:.4f} are above {betting.ALPHA}")


if __name__ == "__main__":
    main()
