"""Asks, settings and rules that the tests of manifests share."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import kubernetes_validate

from llmops_resources.settings import Settings
from llmops_resources.training.job import Ask

JOB_ID = UUID("7f0c4a52-6a53-4a2f-9c3c-0d2d6f4b8f11")
NAME = f"train-{JOB_ID}-1"
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": NAME, "uid": "u-1", "controller": False,
         "blockOwnerDeletion": False}  # fmt: skip
#: Kubernetes releases whose schemas every manifest must satisfy: the oldest that is still common, and the newest.
RELEASES = ("1.31", "1.37")


def settings(**given: Any) -> Settings:
    given = {"training_image": "registry.example.com/llmops@sha256:" + "0" * 64, **given}
    return Settings(_env_file=None, **given)


def ask(**given: Any) -> Ask:
    return Ask(**{"job_id": JOB_ID, "attempt": 1, **given})


def check(manifest: Mapping[str, Any]) -> None:
    """Raises when Kubernetes' own schemas, closed to unknown fields, do not accept the manifest."""
    for release in RELEASES:
        kubernetes_validate.validate(dict(manifest), release, strict=True)


def unsafe(spec: Mapping[str, Any]) -> list[str]:
    """What a pod's spec has that no training pod may have (the restricted Pod Security Standard, and more)."""
    shared = ("hostNetwork", "hostPID", "hostIPC", "hostAliases", "shareProcessNamespace")
    found = [key for key in shared if spec.get(key)]
    pod = spec.get("securityContext") or {}
    if pod.get("runAsNonRoot") is not True or pod.get("runAsUser") == 0:
        found.append("root")
    if (pod.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        found.append("seccomp")
    volumes = spec.get("volumes") or []
    found += [f"volume {v}" for v in volumes if not set(v) - {"name"} <= {"emptyDir", "secret", "configMap"}]
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        own = container.get("securityContext") or {}
        right = {"allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True,
                 "capabilities": {"drop": ["ALL"]}}  # fmt: skip
        found += [f"{key} is {own.get(key)}" for key, value in right.items() if own.get(key) != value]
        if "limits" not in container.get("resources", {}):
            found.append("no limits")
        found += [port for port in container.get("ports") or [] if "hostPort" in port]
    return found


def texts(value: Any) -> Iterator[str]:
    """Every string in a manifest, names of fields included."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value
