"""Counters of the gateway. Labels are known routes, surfaces and statuses only, so their number is bounded."""

from collections.abc import Iterable
from typing import Final

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


def count_request(route: str, surface: str, status: int) -> None:
    """One request was answered; `route` must be one that exists, or UNKNOWN."""
    leave(_count_requests, (route, surface, status))


def count_call(route: str, seconds: float, tokens: Counted) -> None:
    """One call to a model server ended."""
    leave(_count_calls, (route, seconds, tokens))


def _count_requests(requests: Iterable[tuple[str, str, int]]) -> None:
    for route, surface, status in requests:
        _CALLS.add((route, surface, str(status)))


def _count_calls(calls: Iterable[tuple[str, float, Counted]]) -> None:
    for route, seconds, tokens in calls:
        _SECONDS.observe((route,), seconds)
        _TOKENS.add((route, "prompt"), tokens.prompt)
        _TOKENS.add((route, "completion"), tokens.completion)
