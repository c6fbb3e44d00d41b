"""Whether a column's values are distributed otherwise than in the older version, told apart from chance.

Numbers, times and lengths of long texts are put into bins between the older version's deciles and compared by the
population stability index, PSI = Σ (p - q) ln(p / q). Categories are compared by the Jensen-Shannon divergence in bits
(0 to 1; Lin 1991). Empty cells are a bin of their own. Shares are smoothed by half a count a bin (Jeffreys), so that
an empty bin is no infinity.

Thresholds: without any drift, PSI is distributed about as (1/n + 1/m) times chi-squared with one degree of freedom
less than there are bins, and the divergence as that over 8 ln 2 (both by their second-order expansion). A column has
drifted when its figure is above what chance explains at 99 % for all columns together (Bonferroni), and above the
customary 0.1 of PSI, or its equal in bits. Where chance alone reaches 0.25 there are too few rows to know.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import NormalDist
from typing import Any, NamedTuple

import polars as pl

from llmops_resources.checks.display import shown
from llmops_resources.values import Value

MATTERS = 0.1
HOPELESS = 0.25
_IN_BITS = 1 / (8 * math.log(2))  # the divergence that a small PSI amounts to
_SURE = 0.99
_SAMPLE = 20_000  # rows of the older version that bins and categories are chosen from
_CATEGORIES = 20
_FEW = 50  # distinct texts up to which a text column is one of categories
_SHORT = 64
_NO_VALUES = "the older version has no values to compare with"
_TOGETHER = 50  # columns counted in one pass


class Verdict(StrEnum):
    """`unknown` is never a pass."""

    STABLE = "stable"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"


class DriftBin(Value):
    """One bin or category, and the share of rows (0 to 1) in it in each version."""

    label: str
    older: float
    newer: float


class Drift(Value):
    """One column. `measure` is psi or jensen_shannon, `of` value or length; `reason` says why a verdict is unknown."""

    column: str
    measure: str | None = None
    of: str = "value"
    figure: float | None = None
    threshold: float | None = None
    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""
    bins: tuple[DriftBin, ...] = ()


class Counted(NamedTuple):
    """The drift of each judged column, and the empty cells of every column in each version."""

    drift: tuple[Drift, ...]
    older_nulls: dict[str, int]
    newer_nulls: dict[str, int]


def drift(
    older: pl.LazyFrame, newer: pl.LazyFrame, rows: tuple[int, int], columns: Sequence[str], judged: Sequence[str]
) -> Counted:
    """Count `columns`, which have the same types in both frames, and judge some of them; `rows` are the row counts.

    Each version is read once for every fifty columns, and the older one once more for its bins.
    """
    found: list[Drift] = []
    nulls: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for start in range(0, len(columns), _TOGETHER):
        some = columns[start : start + _TOGETHER]
        plans = _plans(older, rows[0], [name for name in some if name in judged])
        figures = [*([pl.col(name).null_count()] for name in some), *(plan.figures() for plan in plans)]
        sides = [_counted(frame, figures) for frame in (older, newer)]
        for empty, side in zip(nulls, sides, strict=True):
            empty.update((name, side[number][0]) for number, name in enumerate(some))
        for number, plan in enumerate(plans, start=len(some)):
            counts = [plan.counts(side[number], total) for side, total in zip(sides, rows, strict=True)]
            found.append(judge(plan, counts[0], counts[1], columns=len(judged)))
    return Counted(tuple(found), *nulls)


@dataclass(frozen=True)
class Plan:
    """How one column is counted: between `edges` (deciles), or by `categories`; neither: not at all."""

    column: str
    of: str = "value"
    value: pl.Expr | None = None
    edges: tuple[Any, ...] = ()
    categories: tuple[Any, ...] = ()
    labels: tuple[str, ...] = ()
    reason: str = "values of this type are not compared"

    @property
    def measure(self) -> str | None:
        return None if self.value is None else "jensen_shannon" if self.categories else "psi"

    def figures(self) -> list[pl.Expr]:
        """Empty cells, then values up to each edge, or values of each category."""
        if self.value is None:
            return []
        wanted = [self.value == item for item in self.categories] or [self.value <= edge for edge in self.edges]
        return [self.value.null_count(), *(each.sum() for each in wanted)]

    def counts(self, figures: Sequence[int], rows: int) -> list[int]:
        """Rows in each bin, in the order of `labels`: the empty ones, the bins, and what is beyond them."""
        if not figures:
            return []
        nulls, rest = figures[0], list(figures[1:])
        if self.categories:
            return [nulls, *rest, rows - nulls - sum(rest)]
        steps = [0, *rest, rows - nulls]
        return [nulls, *(steps[i + 1] - steps[i] for i in range(len(steps) - 1))]


def judge(plan: Plan, older: Sequence[int], newer: Sequence[int], *, columns: int = 1) -> Drift:
    """The verdict about counts by bin; `columns` are judged together."""
    n, m = sum(older), sum(newer)
    if plan.measure is None:
        return Drift(column=plan.column, reason=plan.reason)
    if not n or not m:
        return Drift(column=plan.column, measure=plan.measure, of=plan.of, reason="a version has no rows")
    used = [i for i in range(len(older)) if older[i] or newer[i]]
    p, q = ([(side[i] + 0.5) / (sum(side) + len(used) / 2) for i in used] for side in (older, newer))
    noise = (1 / n + 1 / m) * chi_squared(1 - (1 - _SURE) / columns, len(used) - 1)
    scale = _IN_BITS if plan.categories else 1.0
    figure = jensen_shannon(p, q) if plan.categories else psi(p, q)
    threshold = max(MATTERS, noise) * scale
    verdict = Verdict.DRIFTED if figure > threshold else Verdict.STABLE
    reason = ""
    if verdict is Verdict.STABLE and noise > HOPELESS:
        verdict, reason = Verdict.UNKNOWN, "there are too few rows to tell drift from chance"
    bins = tuple(DriftBin(label=plan.labels[i], older=older[i] / n, newer=newer[i] / m) for i in used)
    return Drift(
        column=plan.column, measure=plan.measure, of=plan.of, figure=round(figure, 6), threshold=round(threshold, 6),
        verdict=verdict, reason=reason, bins=bins,
    )  # fmt: skip


def psi(p: Sequence[float], q: Sequence[float]) -> float:
    """The population stability index of positive shares."""
    return math.fsum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def jensen_shannon(p: Sequence[float], q: Sequence[float]) -> float:
    """The Jensen-Shannon divergence of positive shares, in bits."""
    halves = ((a, b, (a + b) / 2) for a, b in zip(p, q, strict=True))
    return max(0.0, math.fsum(a * math.log2(a / c) + b * math.log2(b / c) for a, b, c in halves) / 2)


def chi_squared(probability: float, freedom: int) -> float:
    """The quantile of the chi-squared distribution, by Wilson and Hilferty (1931)."""
    if freedom < 1:
        return 0.0
    spread = 2 / (9 * freedom)
    return freedom * max(0.0, 1 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)) ** 3


def _counted(frame: pl.LazyFrame, figures: Sequence[Sequence[pl.Expr]]) -> list[list[int]]:
    """Every figure of every plan, in one pass over the rows."""
    flat = [each.alias(str(number)) for number, each in enumerate(each for plan in figures for each in plan)]
    values = iter(frame.select(flat).collect(engine="streaming").row(0) if flat else ())
    return [[int(next(values)) for _ in plan] for plan in figures]


def _plans(older: pl.LazyFrame, rows: int, columns: Sequence[str]) -> list[Plan]:
    """Bins and categories from evenly spread rows of the older version."""
    schema = older.collect_schema()
    seen = []
    for name in columns:
        if schema[name] == pl.String:
            seen += [pl.col(name).str.slice(0, _SHORT + 1), pl.col(name).str.len_chars().alias(f"{name}\0length")]
        elif schema[name].is_numeric() or schema[name].is_temporal() or schema[name] == pl.Boolean:
            seen.append(pl.col(name))
    step = max(1, rows // _SAMPLE)
    spread = older.with_row_index("\0row").filter(pl.col("\0row") % step == 0)
    sample = spread.select(seen).collect(engine="streaming") if seen else pl.DataFrame()
    return [_plan(name, schema[name], sample) for name in columns]


def _plan(name: str, kind: pl.DataType, sample: pl.DataFrame) -> Plan:
    value = pl.col(name)
    if kind == pl.Boolean:
        return _by_category(name, value, [False, True])
    if kind == pl.String:
        texts = sample[name].drop_nulls()
        longest = sample[f"{name}\0length"].max() or 0
        if isinstance(longest, int) and longest <= _SHORT and texts.n_unique() <= _FEW:
            common = texts.value_counts(sort=True).sort(["count", name], descending=[True, False])
            return _by_category(name, value, common[name].head(_CATEGORIES).to_list())
        return _by_edges(name, value.str.len_chars(), sample[f"{name}\0length"], "length")
    if kind.is_numeric():
        return _by_edges(name, value.cast(pl.Float64), sample[name].cast(pl.Float64), "value")
    if kind.is_temporal():
        return _by_edges(name, value, sample[name], "value")
    return Plan(name)


def _by_category(name: str, value: pl.Expr, categories: list[Any]) -> Plan:
    labels = ("(empty)", *(str(shown(item, _SHORT)) for item in categories), "(other)")
    if not categories:
        return Plan(name, reason=_NO_VALUES)
    return Plan(name, value=value, categories=tuple(categories), labels=labels)


def _by_edges(name: str, value: pl.Expr, sample: pl.Series, of: str) -> Plan:
    ordered = sample.drop_nulls()
    if ordered.dtype.is_float():
        ordered = ordered.filter(ordered.is_finite())
    ordered = ordered.sort()
    picked = [ordered[len(ordered) * tenth // 10] for tenth in range(1, 10)] if len(ordered) else []
    edges = list(dict.fromkeys(picked))
    if not edges:
        return Plan(name, reason=_NO_VALUES)
    words = [f"{edge:.4g}" if isinstance(edge, float) else str(edge) for edge in edges]
    between = (f"{low} – {high}" for low, high in pairwise(words))
    labels = ("(empty)", f"≤ {words[0]}", *between, f"> {words[-1]}")
    return Plan(name, of=of, value=value, edges=tuple(edges), labels=labels)
