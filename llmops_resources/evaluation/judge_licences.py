"""Whether a judge may decide: only while it agrees with people about as well as people agree with each other.

The judge takes each person's place in turn. The mean of Krippendorff's alpha of those panels, less the alpha of the
people alone, must be above minus the margin with the lower bound of its bootstrap interval over units (the idea of
replacing one annotator is that of Calderon, Reichart and Dror 2025, "The Alternative Annotator Test"; the measure and
the interval here are ours). What cannot be told is no licence.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from llmops_resources.evaluation.agreement import Scale, alphas
from llmops_resources.evaluation.estimates import CONFIDENCE, Estimate, Times, grouped, interval
from llmops_resources.values import Value

Answers = Sequence[float | None]
Table = NDArray[np.float64]
LEAST_UNITS: Final = 30
NOBODY: Final = float("nan")


class Terms(Value):
    """What a licence asks for. `coverage` is the share of the units judged by people that the judge judged as well;
    `agreement` the alpha that people must reach among themselves, since who agrees with nobody measures nobody.
    Only so many of the `newest` units count, by when people judged them: an old agreement covers no later drift."""

    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.95
    units: Annotated[int, Field(ge=LEAST_UNITS)] = LEAST_UNITS
    agreement: Annotated[float, Field(ge=0, le=1)] = 0.4
    newest: Annotated[int, Field(ge=LEAST_UNITS, le=100_000)] = 500


class Licence(Value):
    """Whether a judge may decide about a criterion, with every reason and figure.

    `difference`: alpha with the judge in a person's place, less alpha of the people. `units`: those that count.
    """

    granted: bool
    reasons: tuple[str, ...]
    terms: Terms
    units: int
    people: int
    coverage: float
    humans: float | None = None
    with_judge: float | None = None
    difference: Estimate | None = None


class Bias(Value):
    """What a judge may lean on beside the matter; None where it cannot be told.

    `length`: Spearman's correlation of its value with the answer's length, where an answer is judged alone.
    `first_place`: the share of the first shown among those it preferred, and `steady`: the share of pairs of which it
    said the same in both orders, where two are compared.
    """

    length: float | None = None
    first_place: float | None = None
    steady: float | None = None


def licence(
    judge: Answers, people: Mapping[str, Answers], scale: Scale, terms: Terms | None = None, seed: int = 0
) -> Licence:
    """Decide from what a judge and people said of the same units, in the same order; None is no answer."""
    terms = terms or Terms()
    panel = np.array([[NOBODY if v is None else v for v in said] for said in people.values()], dtype=float)
    panel = panel.reshape(len(people), len(judge))
    panel = panel[np.isfinite(panel).any(axis=1)]
    ours = np.array([NOBODY if v is None else v for v in judge], dtype=float)
    twice = np.isfinite(panel).sum(axis=0) >= 2
    both = twice & np.isfinite(ours)
    coverage = float(both.sum() / twice.sum()) if twice.any() else 0.0
    found = Licence(granted=False, reasons=(), terms=terms, units=int(both.sum()), people=len(panel), coverage=coverage)
    if reasons := _too_little(found):
        return found.model_copy(update={"reasons": tuple(reasons)})
    return _measured(found, ours[both], panel[:, both], scale, seed)


def bias(values: Answers, lengths: Sequence[int]) -> float | None:
    """Spearman's correlation of a judge's values with the answers' lengths; None when one of them never differs."""
    pairs = np.array([(v, n) for v, n in zip(values, lengths, strict=True) if v is not None], dtype=float)
    if len(pairs) < 3 or any(len(np.unique(column)) < 2 for column in pairs.T):
        return None
    return float(np.corrcoef(_ranks(pairs[:, 0]), _ranks(pairs[:, 1]))[0, 1])


def _too_little(found: Licence) -> list[str]:
    reasons = []
    if found.people < 2:
        reasons.append(f"{found.people} people judged, and without two there is no agreement to compare with")
    if found.units < found.terms.units:
        reasons.append(f"{found.units} units were judged by two people and the judge; it takes {found.terms.units}")
    if found.coverage < found.terms.coverage:
        reasons.append(
            f"the judge judged {found.coverage:.1%} of what people judged; it takes {found.terms.coverage:.1%}"
        )
    return reasons


def _measured(found: Licence, ours: Table, panel: Table, scale: Scale, seed: int) -> Licence:
    domain = np.unique(np.concatenate([panel[np.isfinite(panel)], ours]))
    voices = (np.vstack([panel, ours])[:, :, None] == domain).astype(np.int64)  # (voices, units, values)
    panels = _panels(voices)  # (panels, units, values): the people first, then each with the judge for one of them
    units = panels.shape[1]
    groups, counts = grouped(panels.transpose(1, 0, 2).reshape(units, -1))
    drawn = groups.reshape(len(groups), len(panels), -1)

    def each_panel(times: Times) -> NDArray[np.float64]:
        return np.stack([alphas(times, drawn[:, at], domain, scale) for at in range(len(panels))])

    def differences(times: Times) -> NDArray[np.float64]:
        found = each_panel(times)
        gained: NDArray[np.float64] = found[1:].mean(axis=0) - found[0]
        return gained

    humans, *judged = each_panel(counts[None].astype(float))[:, 0].tolist()
    measured = {"humans": _finite(humans), "with_judge": _finite(float(np.mean(judged)))}
    difference = interval(counts, differences, seed)
    if difference is None:
        reason = "the agreement is not defined: everybody said the same of every unit"
        return found.model_copy(update={**measured, "reasons": (reason,)})
    reasons = []
    if humans < found.terms.agreement:
        reasons.append(
            f"people agree with an alpha of {humans:.3f} among themselves, and it takes {found.terms.agreement:g}"
        )
    reasons.append(
        f"alpha is {humans:.3f} among {found.people} people and {measured['with_judge']:.3f} with the judge in a "
        f"person's place; with {CONFIDENCE:.0%} confidence at most {max(0.0, -difference.low):.3f} worse, and "
        f"{found.terms.margin:g} is allowed"
    )
    granted = difference.low >= -found.terms.margin and humans >= found.terms.agreement
    decided = {"difference": difference, "granted": granted, "reasons": tuple(reasons)}
    return found.model_copy(update={**measured, **decided})


def _panels(voices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Votes of the people, and for each person votes with the judge, the last voice, where that person answered."""
    people, judge = voices[:-1], voices[-1]
    humans = people.sum(axis=0)
    answered = people.sum(axis=2, keepdims=True)  # (people, units, 1)
    return np.stack(
        [humans, *(humans - person + judge * there for person, there in zip(people, answered, strict=True))]
    )


def _ranks(values: Table) -> Table:
    """Ranks from 0; equal values share the mean of theirs."""
    _distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    ranks: Table = ((ends - counts + ends - 1) / 2)[codes]
    return ranks


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
