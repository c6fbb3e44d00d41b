"""The parts of a pod that every training pod shares: what it may not do, what it may use, where it may write.

What no pod of ours may do is in `llmops_resources/cluster/hardening.py`.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.values import Value

Object: TypeAlias = dict[str, Any]

#: Where a process may write, apart from its work.
MOUNTS: Final[tuple[Object, ...]] = (
    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  - a volume of the pod's own
    {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
)
HOME: Final[tuple[Object, ...]] = (
    {"name": "HOME", "value": "/tmp"},  # noqa: S108
    {"name": "TORCHINDUCTOR_CACHE_DIR", "value": "/tmp/inductor"},  # noqa: S108
)
#: A training pod that is moved loses the time since its last checkpoint.
STAY: Final = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
#: How a run knows its own pod, to own what it makes.
ITSELF: Final[tuple[Object, ...]] = (
    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
)
LAUNCHER_RESOURCES: Final[Object] = {
    "requests": {"cpu": "250m", "memory": "1Gi"},
    "limits": {"cpu": "2", "memory": "4Gi"},
}
_MEMORY: Final = re.compile(r"([1-9][0-9]{0,11})(Ki|Mi|Gi|Ti|k|M|G|T)?")
_UNITS: Final = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
                 "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}  # fmt: skip


class Quantities(Value):
    """Cores and memory of a node: what is reserved, and what may be used."""

    cpu: tuple[str, str]
    memory: tuple[str, str]

    @property
    def whole_cores(self) -> int:
        """Whole cores that may be used."""
        return int(cores(self.cpu[1]))

    def times(self, number: int) -> "Quantities":
        """The same for so many GPUs."""
        low, high = (f"{round(cores(value) * number * 1000)}m" for value in self.cpu)
        least, most = (str(size(value) * number) for value in self.memory)
        return Quantities(cpu=(low, high), memory=(least, most))

    def asking(self, *, cpu: str | None, memory: str | None) -> "Quantities":
        """With a job's own requests. Raises ValidationFailed for one above what may be used, or that is no quantity."""
        if cpu is not None and cores(cpu) > cores(self.cpu[1]):
            raise _refused("cpuCores", f"{cpu} are more than a node may use", f"Ask for at most {self.cpu[1]}.")
        if memory is not None and size(memory) > size(self.memory[1]):
            raise _refused("memory", f"{memory} is more than a node may use", f"Ask for at most {self.memory[1]}.")
        return Quantities(cpu=(cpu or self.cpu[0], self.cpu[1]), memory=(memory or self.memory[0], self.memory[1]))


def resources(wanted: Quantities, *, gpus: int) -> Object:
    """A container's resources; GPUs are whole, and what is reserved is what may be used."""
    requests: dict[str, str] = {"cpu": wanted.cpu[0], "memory": wanted.memory[0]}
    limits: dict[str, str] = {"cpu": wanted.cpu[1], "memory": wanted.memory[1]}
    if gpus:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(gpus)
    return {"requests": requests, "limits": limits}


def volumes() -> list[Object]:
    """The volumes of MOUNTS. What processes of one node share through /dev/shm counts as their memory."""
    return [{"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}}, {"name": "shm", "emptyDir": {"medium": "Memory"}}]


def on_products(products: Sequence[str]) -> Object:
    """Only on nodes with one of these GPUs."""
    expression = {"key": "nvidia.com/gpu.product", "operator": "In", "values": list(products)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def cores(quantity: str) -> Decimal:
    """`4`, `0.5` and `500m` as cores."""
    return Decimal(quantity[:-1]) / 1000 if quantity.endswith("m") else Decimal(quantity)


def size(quantity: str) -> int:
    """`8Gi` and the like as bytes. Raises ValidationFailed."""
    found = _MEMORY.fullmatch(quantity)
    if found is None:
        raise _refused("memory", f"{quantity[:40]!r} is not a size", "Give a quantity such as 4Gi.")
    return int(found[1]) * _UNITS[found[2]]


def _refused(name: str, problem: str, remedy: str) -> ValidationFailed:
    details = [field_problem(f"resourceProfile.{name}", problem, remedy)]
    return ValidationFailed(f"resourceProfile.{name}: {problem}", remedy=remedy, details=details)
