"""What an experiment will do, fixed before it starts: variants, what counts, what must not get worse, when it ends."""

from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from llmops_resources.errors import Conflict
from llmops_resources.values import Value

MOST_VARIANTS: Final = 6
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Share = Annotated[float, Field(gt=0, le=10)]


class State(StrEnum):
    """Where an experiment stands; `stopped` sends everybody back to what the route is bound to."""

    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"
    CONCLUDED = "concluded"


MOVES: Final[dict[State, frozenset[State]]] = {
    State.DRAFT: frozenset({State.RUNNING, State.STOPPED}),
    State.RUNNING: frozenset({State.STOPPED, State.CONCLUDED}),
    State.STOPPED: frozenset({State.CONCLUDED}),
    State.CONCLUDED: frozenset(),
}


class Measure(StrEnum):
    """What users say of an answer: thumbs up or down, or a score from 0 to 1. More is better."""

    THUMBS = "thumbs"
    SCORE = "score"


class AllocationKind(StrEnum):
    """Weights that stay as planned, or weights that follow what is known (Thompson sampling)."""

    FIXED = "fixed"
    THOMPSON = "thompson"


class Variant(Value):
    """One prompt version in the comparison; the first of an experiment is its control. `digest` is the approved one."""

    name: Label
    prompt_id: UUID
    prompt_name: str
    prompt_version: str
    digest: str
    weight: Annotated[int, Field(ge=1, le=1000)]


class GuardRails(Value):
    """How much worse than the control a variant may be; None does not look.

    `error_rate` in shares of users (0.05 is five in a hundred more); `latency` and `cost` relative (0.25 is a quarter
    more). Each user's first call counts.
    """

    error_rate: Annotated[float, Field(ge=0, lt=1)] | None = 0.05
    latency: Share | None = 0.5
    cost: Share | None = None


class StopRules(Value):
    """When an experiment ends by itself: harm and futility always do, the rest is here.

    Nothing is recommended before `min_users`; they and `max_users` count users who got an answer of any variant.
    """

    min_users: Annotated[int, Field(ge=2, le=200_000)] = 100
    max_users: Annotated[int, Field(ge=2, le=200_000)] = 20_000
    max_days: Annotated[int, Field(ge=1, le=90)] = 14
    on_winner: bool = True


class Plan(Value):
    """The whole plan. `minimum_effect`: a smaller difference of the metric is not worth a change."""

    metric: Measure = Measure.THUMBS
    allocation: AllocationKind = AllocationKind.FIXED
    minimum_effect: Annotated[float, Field(gt=0, le=0.5)] = 0.02
    variants: Annotated[tuple[Variant, ...], Field(min_length=2, max_length=MOST_VARIANTS)]
    guard_rails: GuardRails = GuardRails()
    stop_rules: StopRules = StopRules()

    @property
    def control(self) -> Variant:
        """What the others are compared with."""
        return self.variants[0]

    @property
    def challengers(self) -> tuple[Variant, ...]:
        """Everything but the control."""
        return self.variants[1:]

    def weights(self) -> dict[str, float]:
        """The planned share of users of each variant; they add up to 1."""
        whole = sum(variant.weight for variant in self.variants)
        return {variant.name: variant.weight / whole for variant in self.variants}


def check_move(name: str, now: State, to: State) -> None:
    """Raises Conflict unless an experiment in state `now` may become `to`."""
    if to not in MOVES[now]:
        allowed = ", ".join(sorted(MOVES[now])) or "nothing any more"
        raise Conflict(f"the experiment {name} is {now}", remedy=f"From there it can become {allowed}.")
