"""What several judges say together: more than their mean, since some are better than others.

Each judge has a table of how it answers what is truly so, and the truth of a unit is what makes all answers likely;
both are found together by expectation maximisation (Dawid and Skene 1979, "Maximum Likelihood Estimation of Observer
Error-Rates Using the EM Algorithm"). A Dirichlet prior that trusts every judge a little keeps few units from claiming
certainty; without it a judge's table could be turned upside down with the same likelihood.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmops_resources.errors import InvalidInput
from llmops_resources.evaluation.agreement import Scale
from llmops_resources.values import Value

LEAST_JUDGES: Final = 3
LEAST_UNITS: Final = 20
#: Imagined answers of each judge to each true value: so many right ones, and so many spread over the wrong ones.
RIGHT: Final = 3.0
WRONG: Final = 1.0
ROUNDS: Final = 500
CLOSE: Final = 1e-10
Table = NDArray[np.float64]


class Consensus(Value):
    """What counts for each unit, in the order given; None where nobody judged it.

    `confidence` is the probability of the value where it was estimated, else the share of judges that said it.
    `reliability` of each judge is how often it says what is so: None where that was not estimated, and `method` why.
    """

    values: tuple[float | None, ...]
    confidence: tuple[float | None, ...]
    reliability: tuple[float | None, ...]
    method: str


def consensus(answers: ArrayLike, scale: Scale) -> Consensus:
    """Of an array of shape (judges, units), NaN where a judge gave no answer.

    The value of a unit is the median of what is likely on a scale with an order, the likeliest without one.

    Raises:
        InvalidInput: the answers are no such array.
    """
    table = np.asarray(answers, dtype=float)
    if table.ndim != 2:
        raise InvalidInput(f"answers of shape {table.shape}", remedy="give an array of (judges, units)")
    if why := _too_little(table):
        return _counted(table, scale, why)
    domain, codes = _coded(table)
    truth, tables, shares = _estimated(codes, len(domain))
    judged = [bool(column.max() >= 0) for column in codes.T]
    at = _middle(truth, scale)
    return Consensus(
        values=tuple(float(domain[k]) if any_ else None for k, any_ in zip(at, judged, strict=True)),
        confidence=tuple(
            float(of_unit[k]) if any_ else None for of_unit, k, any_ in zip(truth, at, judged, strict=True)
        ),
        reliability=tuple(float(shares @ np.diag(of_judge)) for of_judge in tables),
        method="Dawid-Skene",
    )


def _too_little(table: Table) -> str:
    """Why the judges' reliability cannot be estimated from so little."""
    told = np.isfinite(table)
    if (judges := int(told.any(axis=1).sum())) < LEAST_JUDGES:
        return f"{judges} of at least {LEAST_JUDGES} judges answered"
    if (units := int((told.sum(axis=0) >= LEAST_JUDGES).sum())) < LEAST_UNITS:
        return f"{units} units have answers of {LEAST_JUDGES} judges, and it takes {LEAST_UNITS}"
    if len(np.unique(table[told])) < 2:
        return "every answer is the same"
    return ""


def _counted(table: Table, scale: Scale, why: str) -> Consensus:
    """The median, or what more than half said; a tie between categories counts for none."""
    values: list[float | None] = []
    confidence: list[float | None] = []
    for column in table.T:
        given = column[np.isfinite(column)]
        value = _of_votes(given, scale)
        values.append(value)
        confidence.append(None if value is None or len(given) < 2 else float(np.mean(given == value)))
    name = "median" if scale is not Scale.NOMINAL else "majority"
    return Consensus(
        values=tuple(values), confidence=tuple(confidence), reliability=(None,) * len(table), method=f"{name}: {why}"
    )


def _of_votes(given: Table, scale: Scale) -> float | None:
    if not len(given):
        return None
    if scale is not Scale.NOMINAL:
        return float(np.median(given))
    domain, counts = np.unique(given, return_counts=True)
    return float(domain[counts.argmax()]) if counts.max() * 2 > len(given) else None


def _coded(table: Table) -> tuple[Table, NDArray[np.int64]]:
    """The values that occur, and each answer as its number among them, -1 where there is none."""
    domain = np.unique(table[np.isfinite(table)])
    codes = np.where(np.isfinite(table), np.searchsorted(domain, np.nan_to_num(table, nan=domain[0])), -1)
    return domain, codes.astype(np.int64)


def _estimated(codes: NDArray[np.int64], categories: int) -> tuple[Table, Table, Table]:
    """Probabilities (units, truths), tables (judges, truths, answers) and the shares of the truths."""
    said = np.stack([codes == k for k in range(categories)], axis=-1).astype(float)  # (judges, units, answers)
    votes = said.sum(axis=0)
    truth = (votes + 1 / categories) / (votes + 1 / categories).sum(axis=1, keepdims=True)
    prior = np.full((categories, categories), WRONG / max(1, categories - 1))
    np.fill_diagonal(prior, RIGHT)
    for _ in range(ROUNDS):
        shares = (truth.sum(axis=0) + 1.0) / (len(truth) + categories)
        counts = np.einsum("ut,jua->jta", truth, said) + prior
        tables = counts / counts.sum(axis=2, keepdims=True)
        likely = np.log(shares) + np.einsum("jua,jta->ut", said, np.log(tables))
        newer = np.exp(likely - likely.max(axis=1, keepdims=True))
        newer /= newer.sum(axis=1, keepdims=True)
        moved, truth = float(np.abs(newer - truth).max()), newer
        if moved < CLOSE:
            break
    return truth, tables, shares


def _middle(truth: Table, scale: Scale) -> NDArray[np.int64]:
    at = truth if scale is Scale.NOMINAL else truth.cumsum(axis=1) >= 0.5 - 1e-9  # the first that reaches the half
    return np.asarray(at.argmax(axis=1), dtype=np.int64)
