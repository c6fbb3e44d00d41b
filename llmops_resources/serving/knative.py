"""What is otherwise where KServe runs a model through Knative: replicas by calls at once, down to none at all.

Knative makes the pods itself and refuses fields of a pod that are its own to decide. What it admits, and which of its
features must be on for that, is from its validation (knative.dev/serving, `pkg/apis/serving/fieldmask.go`):
`kubernetes.podspec-init-containers`, `kubernetes.podspec-securitycontext`, and with a GPU
`kubernetes.podspec-tolerations`.
"""

from typing import Final

from llmops_resources.cluster.values import Object

#: KServe's name of the mode up to 0.15, which later versions understand too; they call it by the other.
MODE: Final = "Serverless"
_NAMES: Final = frozenset({MODE, "Knative"})
#: Calls at once beyond which a replica is added, where the endpoint does not say.
CONCURRENCY: Final = 32
#: Seconds a call may take, as many as the gateway waits; Knative allows no more unless told to.
LONGEST_CALL: Final = 600
#: The last replica stays for so long after the last call: loading a model takes longer than most pauses.
_LINGERS: Final = "10m"


def is_meant(mode: str) -> bool:
    """Whether an InferenceService says by either name that it runs through Knative."""
    return mode in _NAMES


def predictor(concurrency: int | None) -> Object:
    """What KServe is told beside the pod and the number of replicas."""
    return {"scaleMetric": "concurrency", "scaleTarget": concurrency or CONCURRENCY, "timeout": LONGEST_CALL}


def annotations(startup_seconds: int) -> dict[str, str]:
    """Of the pods: how long a replica may take to come up, and stays without calls."""
    return {
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period": _LINGERS,
        "serving.knative.dev/progress-deadline": f"{startup_seconds}s",
    }


def admitted(pod: Object) -> Object:
    """The pod without what Knative does not let anybody set."""
    security = {name: value for name, value in pod["securityContext"].items() if name != "fsGroupChangePolicy"}
    return {
        **{name: value for name, value in pod.items() if name != "terminationGracePeriodSeconds"},
        "securityContext": security,
    }
