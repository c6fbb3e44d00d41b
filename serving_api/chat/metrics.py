"""Counters of the gateway. Labels are known routes, surfaces and statuses only, so their number is bounded."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from llmops_resources.gateway.completions import Counted

UNKNOWN = "unknown"
_CALLS = Counter("llmops_gateway_requests_total", "Requests to the gateway", ["route", "surface", "status"])
_SECONDS = Histogram(
    "llmops_gateway_call_seconds",
    "Seconds from a request to the last byte of its answer",
    ["route"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
_TOKENS = Counter("llmops_gateway_tokens_total", "Tokens booked", ["route", "kind"])
OPEN_CALLS = Gauge("llmops_gateway_open_calls", "Calls to model servers under way")

# Finding a labelled child costs more than counting on it. All arguments are bounded, so the caches are too.
_call = cache(lambda route, surface, status: _CALLS.labels(route, surface, str(status)))
_duration = cache(_SECONDS.labels)
_tokens = cache(_TOKENS.labels)


def count_request(route: str, surface: str, status: int) -> None:
    """One request was answered; `route` must be one that exists, or UNKNOWN."""
    _call(route, surface, status).inc()


def count_call(route: str, seconds: float, tokens: Counted) -> None:
    """One call to a model server ended."""
    _duration(route).observe(seconds)
    _tokens(route, "prompt").inc(tokens.prompt)
    _tokens(route, "completion").inc(tokens.completion)
