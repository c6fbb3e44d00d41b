"""What travels through the door: objects as JSON, the labels that find them again, and who owns them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias
from uuid import UUID

from llmops_resources.errors import Conflict

Object: TypeAlias = dict[str, Any]

NAME: Final = "app.kubernetes.io/name"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
JOB: Final = "llmops/job"
ATTEMPT: Final = "llmops/attempt"
ROLE: Final = "llmops/role"
#: The endpoint that an object serves, and the digest (its first 16 hex digits) that a pod was given.
ENDPOINT: Final = "llmops/endpoint"
MODEL: Final = "llmops/model"

#: The kinds we touch: API group and version, and the plural of the path.
KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "Job": ("apis/batch/v1", "jobs"),
    "Pod": ("api/v1", "pods"),
    "Service": ("api/v1", "services"),
    "Secret": ("api/v1", "secrets"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Event": ("api/v1", "events"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Ingress": ("apis/networking.k8s.io/v1", "ingresses"),
    "InferenceService": ("apis/serving.kserve.io/v1beta1", "inferenceservices"),
}


class QuotaExceeded(Conflict):
    """The namespace's ResourceQuota leaves no room."""


class Role(StrEnum):
    """RUN: the Dagster run of a job. NODE: the pods that train it, when they are not the run's own."""

    RUN = "run"
    NODE = "node"


class ChangeKind(StrEnum):
    """PRESENT: it was there when the watch began or was begun again."""

    PRESENT = "present"
    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


@dataclass(frozen=True)
class Change:
    """One thing that a watch saw."""

    kind: ChangeKind
    object: Object

    @property
    def name(self) -> str:
        name: str = self.object["metadata"]["name"]
        return name


def labels(job_id: UUID, attempt: int, role: Role) -> dict[str, str]:
    """The labels of everything made for one attempt of a job."""
    return {NAME: "llmops-training", MANAGED_BY: "llmops", JOB: str(job_id), ATTEMPT: str(attempt), ROLE: role.value}


def selector(wanted: Mapping[str, str]) -> str:
    """Labels as the API wants them in a query."""
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))


def owner(thing: Object, *, api_version: str, kind: str) -> Object:
    """A reference with which the cluster removes an object when `thing` is removed."""
    metadata = thing["metadata"]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }
