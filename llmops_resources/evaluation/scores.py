"""A figure as a result keeps it."""

from llmops_resources.values import Value


class Score(Value):
    """A metric: its value, how many samples it stands on, and its 95 % bootstrap interval."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
