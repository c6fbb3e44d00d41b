"""Where a job runs, decided when it is submitted: on GPUs of one type, or on a CPU slot; pure, with its reason.

A *pool* is a type of GPU, counted in GPUs, or `cpu`, counted in jobs. Every job is charged to one pool, and all it
needs is taken at once.
"""

from collections.abc import Mapping
from typing import Literal

from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.training.profile import CPU_POOL, ResourceProfile
from llmops_resources.values import Value

Capacity = Mapping[str, int]


class ResourceDecision(Value):
    """Where the job runs and why. `fallback`: it asked for a GPU where there is none, and runs on CPUs instead.

    `units` are GPUs, or 1 CPU slot. `cpu_cores` and `memory` are what it asks for on each node; None leaves them to
    the installation's limits for such jobs. `memory_estimate`: what a process needs of its GPU's memory, in a
    sentence, or why that was not estimated; empty on CPUs.
    """

    device: Literal["gpu", "cpu"]
    pool: str
    units: int
    fallback: bool = False
    cpu_cores: float | None = None
    memory: str | None = None
    reason: str
    memory_estimate: str = ""


def place(
    profile: ResourceProfile,
    *,
    use_gpu: bool,
    capacity: Capacity,
    quotas: Mapping[str, int],
    free: Capacity | None = None,
) -> ResourceDecision:
    """Decide for a valid profile. `quotas` are those of the job's team by GPU type; a missing one does not limit.

    Without a wish, the type is one with enough free GPUs now, then the largest one. Raises ValidationFailed for what
    this installation, or this team, can never have.
    """
    on_cpu = {"device": "cpu", "pool": CPU_POOL, "units": 1, "cpu_cores": profile.cpu_cores, "memory": profile.memory}
    if not use_gpu:
        return ResourceDecision.model_validate({**on_cpu, "reason": "it asked for CPUs only"})
    types = {name: number for name, number in capacity.items() if name != CPU_POOL and number > 0}
    if not types:
        reason = "it asked for a GPU, but this installation has none; it runs on CPUs with the CPU-only requests"
        return ResourceDecision.model_validate({**on_cpu, "fallback": True, "reason": reason})
    needed = profile.gpus
    allowed = {name: min(number, quotas.get(name, number)) for name, number in types.items()}
    if profile.gpu_type is not None:
        _check(profile.gpu_type, needed, types, allowed)
        chosen, why = profile.gpu_type, "it asked for this type"
    else:
        fitting = [name for name, number in allowed.items() if number >= needed]
        if not fitting:
            _check(max(sorted(allowed), key=allowed.__getitem__), needed, types, allowed)
        unused = free or {}
        chosen = max(sorted(fitting), key=lambda name: (unused.get(name, 0) >= needed, allowed[name]))
        why = "it named no type, and this one fits best"
    return ResourceDecision(
        device="gpu", pool=chosen, units=needed, cpu_cores=profile.cpu_cores, memory=profile.memory,
        reason=f"{needed} {chosen}: {why}",
    )  # fmt: skip


def _check(pool: str, needed: int, types: Capacity, allowed: Capacity) -> None:
    if pool not in types:
        remedy = f"use one of: {', '.join(sorted(types))}"
        problem = field_problem("resourceProfile.gpuType", f"there is no {pool} here", remedy)
    elif needed > types[pool]:
        remedy = f"ask for at most {types[pool]} in all (nodes x gpuCount)"
        problem = field_problem("resourceProfile.gpuCount", f"{needed} {pool} are more than there are", remedy)
    elif needed > allowed[pool]:
        remedy = f"ask for at most {allowed[pool]} in all, or have the quota raised"
        problem = field_problem("resourceProfile.gpuCount", f"{needed} {pool} are above the team's quota", remedy)
    else:
        return
    raise ValidationFailed("no machine here can ever run this job", details=[problem])
