"""Counters of the gateway. Labels are known routes, surfaces and statuses only, so their number is bounded."""

from collections.abc import Iterable
from typing import Final

import msgspec
from prometheus_client import Gauge

from llmops_resources.gateway.completions import Counted
from serving_api.afterwards import leave
from serving_api.tallies import Durations, Tally

UNKNOWN = "unknown"
_CALLS: Final = Tally("llmops_gateway_requests", "Requests to the gateway", ["route", "surface", "status"])
_SECONDS: Final = Durations(
    "llmops_gateway_call_seconds",
    "Seconds from a request to the last byte of its answer",
    ["route"],
    bounds=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
_TOKENS: Final = Tally("llmops_gateway_tokens", "Tokens booked", ["route", "kind"])


class OpenCalls:
    """How many calls are under way: counted by the event loop alone, and read when the gauge is."""

    def __init__(self) -> None:
        self.count = 0
        gauge = Gauge("llmops_gateway_open_calls", "Calls to model servers under way")
        gauge.set_function(lambda: self.count)

    def begin(self) -> None:
        """One more."""
        self.count += 1

    def end(self) -> None:
        """One is over."""
        self.count -= 1


OPEN_CALLS: Final = OpenCalls()


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What a call to a model server took: its route, seconds, and tokens."""

    route: str
    seconds: float
    tokens: Counted


def count(route: str, surface: str, status: int, taken: Taken | None) -> None:
    """One request was answered, with a call or without; `route` must be one that exists, or UNKNOWN."""
    leave(_count, (route, surface, status, taken))


def _count(requests: Iterable[tuple[str, str, int, Taken | None]]) -> None:
    for route, surface, status, taken in requests:
        _CALLS.add((route, surface, str(status)))
        if taken is not None:
            _SECONDS.observe((taken.route,), taken.seconds)
            _TOKENS.add((taken.route, "prompt"), taken.tokens.prompt)
            _TOKENS.add((taken.route, "completion"), taken.tokens.completion)
