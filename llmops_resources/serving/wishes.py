"""What is asked of an endpoint as a flat table of names and values, so that two such tables can be compared. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmops_resources.serving.options import IN_A_CLUSTER, Options
from llmops_resources.serving.runtimes import RuntimeKind, kind_of
from llmops_resources.settings import ServingBackend
from llmops_resources.values import Value

#: What a deployment decides beside its model, as the API spells it.
OPTIONS: Final = tuple(field.alias or name for name, field in Options.model_fields.items())
PROVIDER: Final = "provider"


class SettingChange(Value):
    """One setting that two tables give differently; None is what neither of them decides."""

    field: str
    before: Any = None
    after: Any = None


def of_revision(
    *, digest: str, backend: str, replicas: tuple[int, int], plan: str | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that a revision asks for."""
    return {
        "modelDigest": digest,
        "backend": backend,
        "minReplicas": replicas[0],
        "maxReplicas": replicas[1],
        "rollbackPlan": plan,
        **{name: config.get(name) for name in OPTIONS},
    }


def of_environment(backend: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What should be the same wherever a route is served: where and how it runs.

    Not the model, which is what is promoted, nor the replicas, since there are fewer where less is asked. A process of
    this machine and an external provider have neither image nor resources of ours: what one side cannot have is not
    in its table, and not compared.
    """
    if backend not in IN_A_CLUSTER:
        runtime = RuntimeKind.LLMOPS.value if backend == "local" else PROVIDER
        return {"backend": backend, "runtime": runtime, "promptPolicyId": config.get("promptPolicyId")}
    image = config.get("servingRuntimeImage")
    runtime = kind_of(str(image)).value if image else RuntimeKind.CUSTOM.value
    elsewhere = {"kserveMode"} if backend != ServingBackend.KSERVE else set()
    elsewhere |= {"gpuCount"} if not config.get("useGpu") else set()
    options = {name: config.get(name) for name in OPTIONS if name not in elsewhere}
    return {"backend": backend, "runtime": runtime, **options}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[SettingChange]:
    """What differs of what both tables have, in the order of `after`."""
    return [
        SettingChange(field=name, before=before[name], after=value)
        for name, value in after.items()
        if name in before and before[name] != value
    ]
