"""How far raters agree beyond chance: Krippendorff's alpha, Cohen's kappa, Fleiss' kappa, with bootstrap intervals.

Ratings are an array of shape (raters, units); NaN is a rating that was not given. Units are resampled with everything
that was said about them, since the raters' judgements of one unit are not independent. A coefficient that the data do
not define (no unit rated twice, or no variation at all) is None: agreement that cannot be told is no agreement.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmops_resources.errors import InvalidInput
from llmops_resources.evaluation.estimates import Counts, Estimate, Times, each, grouped, interval

Ratings = NDArray[np.float64]


class Scale(StrEnum):
    """What the distance between two ratings means."""

    NOMINAL = "nominal"
    ORDINAL = "ordinal"
    INTERVAL = "interval"


def krippendorff_alpha(ratings: ArrayLike, scale: Scale, seed: int = 0) -> Estimate | None:
    """Krippendorff's alpha (Krippendorff 2011) of any number of raters; ratings may be missing.

    `n` counts the units that at least two raters rated: the others say nothing about agreement.

    Raises:
        InvalidInput: the ratings are no (raters, units) array.
    """
    table = _table(ratings)
    table = table[:, np.isfinite(table).sum(axis=0) >= 2]
    domain, votes = _votes(table)
    groups, counts = grouped(votes)
    return interval(counts, lambda times: alphas(times, groups, domain, scale), seed)


def alphas(times: Times, votes: Counts, domain: Ratings, scale: Scale) -> NDArray[np.float64]:
    """Krippendorff's alpha of units that are there so many times each, (samples, units): one of each sample.

    `votes` says how often each unit got each value of `domain`, (units, values). The squared distance of two values is
    that of their places: on an ordinal scale the mean ranks that they have in the sample, else the values themselves.
    NaN where no unit has two ratings, or all are the same: no disagreement was possible, so none can be absent.
    """
    said = votes.sum(axis=1)
    votes, others = np.where(said[:, None] > 1, votes, 0).astype(float), np.maximum(said - 1, 1)
    given = times @ votes  # (samples, values)
    if scale is Scale.NOMINAL:
        apart = (votes.sum(axis=1) ** 2 - (votes**2).sum(axis=1))[:, None]  # (units, 1), as of all pairs
        expected = given.sum(axis=1) ** 2 - (given**2).sum(axis=1)
    else:
        places = given.cumsum(axis=1) - given / 2 if scale is Scale.ORDINAL else (domain - domain.mean())[None]
        apart = 2 * (votes.sum(axis=1)[:, None] * (votes @ places.T**2) - (votes @ places.T) ** 2)
        expected = 2 * (given.sum(axis=1) * (given * places**2).sum(axis=1) - (given * places).sum(axis=1) ** 2)
    observed = np.einsum("su,us->s", times / others, np.broadcast_to(apart, times.T.shape))
    defined = (given > 0).sum(axis=1) > 1
    expected = np.where(defined, expected / np.maximum(given.sum(axis=1) - 1, 1), np.nan)
    found: NDArray[np.float64] = 1 - observed / expected
    return found


def cohen_kappa(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Estimate | None:
    """Cohen's kappa (Cohen 1960), unweighted, of two raters over the units that both rated.

    Raises:
        InvalidInput: the raters did not rate the same units.
    """
    one, two = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.shape != two.shape or one.ndim != 1:
        raise InvalidInput(
            f"ratings of shape {one.shape} and {two.shape}", remedy="give one rating a unit of each rater, or NaN"
        )
    both = np.isfinite(one) & np.isfinite(two)
    domain, codes = np.unique(np.concatenate([one[both], two[both]]), return_inverse=True)
    pairs = codes.reshape(2, -1).T
    groups, counts = grouped(pairs)

    def figure(times: NDArray[np.float64]) -> float:
        n = times.sum()
        left, right = (np.bincount(groups[:, rater], times, minlength=len(domain)) / n for rater in (0, 1))
        observed = float(times[groups[:, 0] == groups[:, 1]].sum() / n)
        return _beyond_chance(observed, float(left @ right))

    return interval(counts, each(figure), seed)


def fleiss_kappa(ratings: ArrayLike, seed: int = 0) -> Estimate | None:
    """Fleiss' kappa (Fleiss 1971) of categories by the same number of raters a unit, whoever they are.

    A rater may be missing where another took the unit; a unit that nobody rated stays out.

    Raises:
        InvalidInput: units have different numbers of ratings, or only one; Krippendorff's alpha takes such data.
    """
    _domain, votes = _votes(_table(ratings))
    votes = votes[votes.sum(axis=1) > 0]
    raters = np.unique(votes.sum(axis=1))
    if len(raters) == 0:
        return None
    if len(raters) > 1 or raters[0] < 2:
        raise InvalidInput(
            f"units with {', '.join(map(str, raters))} ratings", remedy="use Krippendorff's alpha, which allows gaps"
        )
    of_each = int(raters[0])
    groups, counts = grouped(votes)
    agreed = (groups * (groups - 1)).sum(axis=1) / (of_each * (of_each - 1))

    def figure(times: NDArray[np.float64]) -> float:
        n = times.sum()
        shares = times @ groups / (n * of_each)
        return _beyond_chance(float(times @ agreed / n), float(shares @ shares))

    return interval(counts, each(figure), seed)


def _beyond_chance(observed: float, expected: float) -> float:
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def _votes(table: Ratings) -> tuple[Ratings, Counts]:
    """The values that were given, and how often each unit got each: (units, values)."""
    domain = np.unique(table[np.isfinite(table)])
    return domain, (table.T[:, :, None] == domain).sum(axis=1)


def _table(ratings: ArrayLike) -> Ratings:
    table = np.asarray(ratings, dtype=float)
    if table.ndim != 2:
        raise InvalidInput(f"ratings of shape {table.shape}", remedy="give an array of (raters, units)")
    return table
