"""What the server counts, in Prometheus' text format. No label has a value that a caller can choose."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

FIRST_TOKEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STEP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
WHOLE = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
PREFIX = "llmops_runtime_"


class Measures:
    """The figures of one server."""

    def __init__(self, running: Callable[[], float], waiting: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        self._gauge("requests_running", "Answers in the model at once.").set_function(running)
        self._gauge("requests_waiting", "Answers waiting for a slot.").set_function(waiting)
        self.asked = self._counter("requests", "Answers asked for and accepted.")
        self.refused = self._counter("requests_refused", "Requests refused because too many were waiting.")
        self.ended = Counter(
            f"{PREFIX}answers", "Answers that ended, by why.", ["finish_reason"], registry=self._registry
        )
        self.read = self._counter("prompt_tokens", "Tokens of prompts read.")
        self.made = self._counter("generated_tokens", "Tokens generated.")
        self.hits = self._counter("prefix_hits", "Prompts whose beginning was not read again.")
        self.first = self._histogram("time_to_first_token_seconds", "From the request to its first token.", FIRST_TOKEN)
        self.step = self._histogram("step_seconds", "Between two tokens of the running answers.", STEP)
        self.whole = self._histogram("answer_seconds", "From the request to its end.", WHOLE)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, help_: str) -> Gauge:
        return Gauge(PREFIX + name, help_, registry=self._registry)

    def _counter(self, name: str, help_: str) -> Counter:
        return Counter(PREFIX + name, help_, registry=self._registry)

    def _histogram(self, name: str, help_: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, help_, buckets=buckets, registry=self._registry)
