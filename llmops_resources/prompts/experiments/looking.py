"""One look at an experiment: figures of its variants, effects with their intervals, guard rails, and what follows.

Pure, and safe to repeat: every interval holds for all looks together (`sequential.py`), so looking often costs nothing.
Among several challengers the 5 % is divided evenly (Bonferroni), and so it is among the guard rails.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from llmops_resources.prompts.experiments import balance, sequential
from llmops_resources.prompts.experiments.looks import (
    Advice,
    Effect,
    Ending,
    Guard,
    GuardCheck,
    Hold,
    Look,
    Period,
    Seen,
    Standing,
    VariantFigures,
)
from llmops_resources.prompts.experiments.plan import AllocationKind, Plan
from llmops_resources.prompts.experiments.sequential import Figures

ALPHA: Final = 0.05


def look(plan: Plan, seen: Mapping[str, Seen], periods: Sequence[Period], *, started: datetime, now: datetime) -> Look:
    """Judge what is known now. Raises nothing: what is not known stays open."""
    alpha = ALPHA / len(plan.challengers)
    effects = tuple(_effect(plan, seen, variant.name, alpha) for variant in plan.challengers)
    guards = tuple(_guards(plan, seen))
    balance_p = balance.p_value([(period.users, period.shares) for period in periods])
    users = sum(len(each.failed) for each in seen.values())
    advice, adopt = _advice(plan, effects, guards, users, balanced=balance_p >= balance.ALPHA)
    return Look(
        at=now,
        users=users,
        figures=tuple(_figures(variant.name, seen[variant.name]) for variant in plan.variants),
        effects=effects,
        guards=guards,
        balance_p=balance_p,
        balanced=balance_p >= balance.ALPHA,
        advice=advice,
        adopt=adopt,
        ending=_ending(plan, effects, guards, advice, users, now - started),
    )


def _effect(plan: Plan, seen: Mapping[str, Seen], name: str, alpha: float) -> Effect:
    control, challenger = seen[plan.control.name].ratings, seen[name].ratings
    values = sequential.differences(control, challenger, _block(plan, name))
    found = sequential.bounded(values, alpha)
    if found.low > 0:
        standing = Standing.BETTER
    elif found.high < 0:
        standing = Standing.WORSE
    else:
        standing = Standing.NOT_WORTH_IT if found.high < plan.minimum_effect else Standing.OPEN
    estimate = _mean(challenger) - _mean(control) if control and challenger else None
    return Effect(
        variant=name, estimate=estimate, low=found.low, high=found.high, p_value=sequential.p_value(values),
        pairs=found.n, standing=standing,
    )  # fmt: skip


def _guards(plan: Plan, seen: Mapping[str, Seen]) -> list[GuardCheck]:
    rails = plan.guard_rails
    watched = [(guard, allowed) for guard in Guard if (allowed := getattr(rails, guard.value)) is not None]
    alpha = ALPHA / max(1, len(watched) * len(plan.challengers))
    control = seen[plan.control.name]
    return [
        _guard(guard, allowed, control, seen[variant.name], variant.name, _block(plan, variant.name), alpha)
        for variant in plan.challengers
        for guard, allowed in watched
    ]


def _guard(
    guard: Guard, allowed: float, control: Seen, other: Seen, name: str, sizes: tuple[int, int], alpha: float
) -> GuardCheck:
    if guard is Guard.ERROR_RATE:
        found = sequential.bounded(sequential.differences(control.failed, other.failed, sizes), alpha)
    elif guard is Guard.LATENCY:
        found = sequential.unbounded(_log_ratios(control, other, sizes), alpha)
    else:
        found = sequential.unbounded(_relative_costs(control, other, sizes), alpha)
    worse = (found.mean, found.low, found.high)
    if guard is Guard.LATENCY:
        worse = (_expm1(found.mean), _expm1(found.low), _expm1(found.high))
    known = found.n > 0 and math.isfinite(worse[2])
    state = Hold.BROKEN if worse[1] > allowed else Hold.HELD if worse[2] <= allowed else Hold.OPEN
    return GuardCheck(
        variant=name, guard=guard, allowed=allowed, state=state if known else Hold.OPEN,
        estimate=worse[0] if found.n else None, low=worse[1] if known else None, high=worse[2] if known else None,
    )  # fmt: skip


def _log_ratios(control: Seen, other: Seen, sizes: tuple[int, int]) -> Figures:
    """Of logarithms, so that one slow answer does not decide."""
    logs = [[math.log(max(each, 0.01)) for each in one.latency_ms] for one in (control, other)]
    return sequential.differences(logs[0], logs[1], sizes)


def _relative_costs(control: Seen, other: Seen, sizes: tuple[int, int]) -> Figures:
    """In parts of what the control costs on average; none where it costs nothing."""
    base = _mean(control.cost) if control.cost else 0.0
    return sequential.differences(control.cost, other.cost, sizes) / base if base > 0 else np.empty(0)


def _advice(
    plan: Plan, effects: Sequence[Effect], guards: Sequence[GuardCheck], users: int, *, balanced: bool
) -> tuple[Advice, str | None]:
    if not balanced:
        return Advice.INVESTIGATE, None
    if users < plan.stop_rules.min_users:
        return Advice.WAIT, None
    broken = {check.variant for check in guards if check.state is Hold.BROKEN}
    better = [each for each in effects if each.standing is Standing.BETTER and each.variant not in broken]
    if better:
        return Advice.ADOPT, max(better, key=lambda each: each.estimate or 0.0).variant
    if all(each.variant in broken or each.standing is not Standing.OPEN for each in effects):
        return Advice.KEEP_CONTROL, None
    return Advice.WAIT, None


def _ending(
    plan: Plan, effects: Sequence[Effect], guards: Sequence[GuardCheck], advice: Advice, users: int, age: timedelta
) -> Ending | None:
    rules = plan.stop_rules
    if any(each.standing is Standing.WORSE for each in effects) or any(each.state is Hold.BROKEN for each in guards):
        return Ending.HARM
    if advice is Advice.ADOPT and rules.on_winner:
        return Ending.WINNER
    if advice is Advice.KEEP_CONTROL:
        return Ending.FUTILITY
    if users >= rules.max_users:
        return Ending.SIZE
    return Ending.DURATION if age >= timedelta(days=rules.max_days) else None


def _figures(name: str, seen: Seen) -> VariantFigures:
    logs = [math.log(max(each, 0.01)) for each in seen.latency_ms]
    return VariantFigures(
        variant=name,
        users=len(seen.failed),
        ratings=len(seen.ratings),
        mean=_mean(seen.ratings) if seen.ratings else None,
        failed=_mean(seen.failed) if seen.failed else None,
        latency_ms=math.exp(_mean(logs)) if logs else None,
        cost=_mean(seen.cost) if seen.cost else None,
    )


def _block(plan: Plan, name: str) -> tuple[int, int]:
    if plan.allocation is AllocationKind.THOMPSON:
        return 1, 1
    shares = plan.weights()
    return sequential.block(shares[plan.control.name], shares[name])


def _mean(figures: Sequence[float]) -> float:
    return sum(figures) / len(figures)


def _expm1(value: float) -> float:
    return math.expm1(value) if value < 700 else math.inf
