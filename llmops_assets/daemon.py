"""Dagster's daemon as `llmops up` runs it: it looks for sensors that are due twice a second, not every five seconds.

Our sensors wait for work inside their ticks, so a tick that has ended (because it launched a run, or because newer
definitions are served) must be followed by the next at once; Dagster has no setting for its pause.
"""

import sys
from typing import Final

from dagster._daemon import sensor
from dagster._daemon.cli import main

LOOK_EVERY: Final = 0.5  # seconds; a look is one query


def run() -> None:
    """Takes the arguments of `python -m dagster._daemon`."""
    sensor.MIN_INTERVAL_LOOP_TIME = LOOK_EVERY  # type: ignore[assignment]
    sys.argv[0] = "dagster-daemon"
    main()


if __name__ == "__main__":
    run()
