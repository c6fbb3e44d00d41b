"""Looking at running prompt experiments: what was found is kept, weights follow it, and a rule may end one."""

from typing import Final

import dagster as dg

from llmops_assets.sensors import sensor
from llmops_resources.database import Actor
from llmops_resources.errors import PlatformError
from llmops_resources.platform import Platform
from llmops_resources.prompts.experiments import running

ACTOR: Final = Actor("system:experiments")
EVERY_SECONDS: Final = 15


def look(platform: Platform) -> tuple[int, int]:
    """Look at every experiment, each in a transaction of its own. Returns how many there were, and how many ended."""
    with platform.transaction(ACTOR) as tx:
        found = running.running(tx)
    ended = 0
    for experiment_id in found:
        with platform.transaction(ACTOR) as tx:
            ended += running.look_at(tx, experiment_id)
    return len(found), ended


def build_looking() -> dg.SensorDefinition:
    """The sensor that looks; it starts no runs. Looking often costs nothing: the tests hold for every look."""

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Looks at running prompt experiments, and ends those that a rule ends."""
        try:
            looked, ended = look(context.resources.platform)
        except PlatformError as error:
            return dg.SkipReason(error.message)
        return dg.SkipReason(f"looked at {looked} prompt experiments, {ended} ended")

    return sensor("prompt_experiments", evaluate, every_seconds=EVERY_SECONDS)
