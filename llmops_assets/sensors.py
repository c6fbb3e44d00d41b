"""What every sensor of the platform is: running from the start, over all assets, with the platform at hand."""

from collections.abc import Callable

import dagster as dg

Tick = dg.SensorResult | dg.SkipReason


def sensor(
    name: str, evaluate: Callable[[dg.SensorEvaluationContext], Tick], *, every_seconds: int = 1
) -> dg.SensorDefinition:
    """A sensor that is described by the docstring of what it does; Dagster looks every five seconds at best."""
    return dg.SensorDefinition(
        name=name,
        evaluation_fn=evaluate,
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"platform"},
        description=evaluate.__doc__,
    )
