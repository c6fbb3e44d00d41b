"""What no pod of ours may do, whatever it runs.

The security contexts satisfy the "restricted" Pod Security Standard, and go beyond it with a root file system that is
read-only: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from typing import Final

from llmops_resources.cluster.values import Object

USER: Final = 10_001
POD_SECURITY: Final[Object] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
ON_GPU_NODES: Final[Object] = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
