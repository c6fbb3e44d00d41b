"""What reviewers said, put together purely: figures, agreement, disagreements, and judgements that look wrong.

Of a unit counts what the adjudicator said; else the middle of the judgements, on a scale, or what more than half said.
A verdict without a majority is unresolved: it stays out of the mean and is counted.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np

from llmops_resources.errors import InvalidInput
from llmops_resources.evaluation import agreement
from llmops_resources.evaluation.agreement import Ratings
from llmops_resources.evaluation.estimates import Estimate, bootstrap
from llmops_resources.evaluation.review_rubrics import Criterion, CriterionKind, Rubric
from llmops_resources.values import Value

#: How many judgements it takes before a pattern in them is told.
ENOUGH: Final = 10
QUICK_SECONDS: Final = 2.0


class Judgement(Value):
    """The last thing one person said about one unit; `swapped`: they saw the second answer first."""

    unit: int
    person: str
    values: dict[str, float]
    reason: str = ""
    at: datetime
    adjudication: bool = False
    swapped: bool = False


class Coefficient(Value):
    """One measure of agreement under its proper name; without an estimate, why there is none."""

    name: str
    estimate: Estimate | None
    why_not: str = ""


class CriterionResult(Value):
    """The mean over units with its interval; `unresolved` units have no value. `first_place`: how often the answer
    that was shown first won, of those that were no ties; half is no liking for a place."""

    criterion: str
    estimate: Estimate | None
    unresolved: int
    agreement: tuple[Coefficient, ...]
    first_place: Estimate | None = None


class Sign(Value):
    """Something about a reviewer that a person should look at; it decides nothing by itself."""

    reviewer: str
    sign: str
    detail: str


class Summary(Value):
    """Where a review stands. `slots` are the judgements it needs, `judged` those it has."""

    slots: int
    judged: int
    disagreements: int
    unresolved: int
    criteria: tuple[CriterionResult, ...]
    warnings: tuple[Sign, ...]


def summarise(rubric: Rubric, units: int, overlap: int, judgements: Sequence[Judgement]) -> Summary:
    """The whole result; `judgements` without those of excluded people."""
    votes = [judgement for judgement in judgements if not judgement.adjudication]
    apart = disagreeing(rubric, votes)
    decided = {judgement.unit for judgement in judgements if judgement.adjudication}
    judged = sum(min(overlap, count) for count in Counter(vote.unit for vote in votes).values())
    return Summary(
        slots=units * overlap,
        judged=judged,
        disagreements=len(apart),
        unresolved=len(set(apart) - decided),
        criteria=tuple(_result(criterion, judgements, votes) for criterion in rubric.criteria),
        warnings=tuple(warnings(rubric, votes)),
    )


def disagreeing(rubric: Rubric, votes: Sequence[Judgement]) -> list[int]:
    """The units on which people disagree about some criterion, those first that they disagree about most."""
    spreads: dict[int, float] = {}
    for unit, given in _by_unit(votes).items():
        for criterion in rubric.criteria:
            values = [vote.values[criterion.name] for vote in given]
            if criterion.apart(values):
                steps = criterion.high - criterion.low if criterion.kind is CriterionKind.SCALE else 1
                spreads[unit] = max(spreads.get(unit, 0), (max(values) - min(values)) / steps)
    return sorted(spreads, key=lambda unit: (-spreads[unit], unit))


def settled(criterion: Criterion, given: Sequence[Judgement]) -> float | None:
    """What counts of the judgements of one unit; None when nothing does."""
    final = [judgement.values[criterion.name] for judgement in given if judgement.adjudication]
    if final:
        return final[-1]
    values = [judgement.values[criterion.name] for judgement in given]
    if criterion.kind is CriterionKind.SCALE:
        return float(median(values)) if values else None
    common = Counter(values).most_common(1)
    return common[0][0] if common and common[0][1] * 2 > len(values) else None


def coefficients(criterion: Criterion, votes: Sequence[Judgement]) -> tuple[Coefficient, ...]:
    """Krippendorff's alpha, and the kappa that fits: Cohen's for two people, Fleiss' for equally many a unit."""
    table, people = _table(criterion, votes)
    alpha = agreement.krippendorff_alpha(table, criterion.measured) if len(people) > 1 else None
    undefined = "" if alpha else _why_no_alpha(table, len(people))
    found = [Coefficient(name="krippendorff_alpha", estimate=alpha, why_not=undefined)]
    if len(people) == 2:
        kappa = agreement.cohen_kappa(table[0], table[1])
        found.append(Coefficient(name="cohen_kappa", estimate=kappa, why_not="" if kappa else undefined or _CHANCE))
        return tuple(found)
    try:
        kappa = agreement.fleiss_kappa(table) if len(people) > 2 else None
        reason = "" if kappa else undefined or _CHANCE
    except InvalidInput as error:
        kappa, reason = None, f"Fleiss' kappa needs equally many judgements of each unit: {error.message}"
    return (*found, Coefficient(name="fleiss_kappa", estimate=kappa, why_not=reason))


def warnings(rubric: Rubric, votes: Sequence[Judgement]) -> list[Sign]:
    """Signs of a bot, of flipped labels and of copying (each with the figures behind it)."""
    people: dict[str, list[Judgement]] = defaultdict(list)
    for vote in sorted(votes, key=lambda each: (each.at, each.unit)):
        people[vote.person].append(vote)
    found: list[Sign] = []
    for name, given in sorted(people.items()):
        if len(given) >= ENOUGH:
            found += _of_person(rubric, name, given, votes)
    return found + _copied(votes)


_CHANCE: Final = "everybody said the same about everything, which chance alone explains as well"


def _of_person(rubric: Rubric, name: str, given: list[Judgement], votes: Sequence[Judgement]) -> list[Sign]:
    found = []
    gaps = [(later.at - earlier.at).total_seconds() for earlier, later in pairwise(given)]
    if median(gaps) < QUICK_SECONDS:
        found.append(Sign(reviewer=name, sign="quick", detail=f"{median(gaps):.1f} s between judgements"))
    others = [vote for vote in votes if vote.person != name]
    constant = all(judgement.values == given[0].values for judgement in given)
    if constant and len({tuple(sorted(vote.values.items())) for vote in others}) > 1:
        found.append(Sign(reviewer=name, sign="constant", detail=f"the same {len(given)} times"))
    for criterion in rubric.criteria:
        closest = _closest(criterion, given, others)
        if closest is not None and closest < 0:
            detail = f"{criterion.name}: correlation {closest:.2f} with whoever comes closest"
            found.append(Sign(reviewer=name, sign="opposed", detail=detail))
    return found


def _closest(criterion: Criterion, given: list[Judgement], others: Sequence[Judgement]) -> float | None:
    """The highest correlation with anybody who judged enough of the same units, if it is beyond chance."""
    mine = {judgement.unit: judgement.values[criterion.name] for judgement in given}
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for vote in others:
        if vote.unit in mine:
            pairs[vote.person].append((mine[vote.unit], vote.values[criterion.name]))
    found = []
    for both in pairs.values():
        one, two = np.array(both).T
        if len(both) >= ENOUGH and one.std() > 0 and two.std() > 0:
            correlation = float(np.corrcoef(one, two)[0, 1])
            found.append(correlation if abs(correlation) > 2 / np.sqrt(len(both)) else 0.0)
    return max(found, default=None)


def _copied(votes: Sequence[Judgement]) -> list[Sign]:
    """Two people who gave the same long reasons for the same units."""
    shared: Counter[tuple[str, str]] = Counter()
    for given in _by_unit(votes).values():
        words = [(vote.person, " ".join(vote.reason.split()).casefold()) for vote in given]
        long = sorted((person, reason) for person, reason in words if len(reason) >= 20)
        shared.update(
            (one, two) for at, (one, said) in enumerate(long) for two, again in long[at + 1 :] if said == again
        )
    return [
        Sign(reviewer=person, sign="copied", detail=f"{count} reasons word for word as {other}'s")
        for pair, count in sorted(shared.items())
        if count >= 3
        for person, other in (pair, pair[::-1])
    ]


def _result(criterion: Criterion, judgements: Sequence[Judgement], votes: Sequence[Judgement]) -> CriterionResult:
    finals = [settled(criterion, given) for _, given in sorted(_by_unit(judgements).items())]
    return CriterionResult(
        criterion=criterion.name,
        estimate=bootstrap(finals),
        unresolved=sum(final is None for final in finals),
        agreement=coefficients(criterion, votes),
        first_place=_first_place(criterion, votes) if criterion.kind is CriterionKind.PAIRWISE else None,
    )


def _first_place(criterion: Criterion, votes: Sequence[Judgement]) -> Estimate | None:
    chosen = [(vote.values[criterion.name], vote.swapped) for vote in votes]
    return bootstrap([1 - value if swapped else value for value, swapped in chosen if value != 0.5])


def _table(criterion: Criterion, votes: Sequence[Judgement]) -> tuple[Ratings, list[str]]:
    people = sorted({vote.person for vote in votes})
    units = sorted({vote.unit for vote in votes})
    table = np.full((len(people), len(units)), np.nan)
    rows, columns = ({each: at for at, each in enumerate(found)} for found in (people, units))
    for vote in votes:
        table[rows[vote.person], columns[vote.unit]] = vote.values[criterion.name]
    return table, people


def _why_no_alpha(table: Ratings, people: int) -> str:
    if people < 2:
        return "it takes at least two people"
    both = table[:, np.isfinite(table).sum(axis=0) >= 2]
    return _CHANCE if both.size else "no unit was judged by two people"


def _by_unit(judgements: Sequence[Judgement]) -> dict[int, list[Judgement]]:
    found: dict[int, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        found[judgement.unit].append(judgement)
    return found
