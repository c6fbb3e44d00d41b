"""Placements and settings that the tests of cluster serving share, and a hand that plays the workloads' controllers."""

from typing import Any
from uuid import UUID

from llmops_resources.blobs import Manifest, StoredFile
from llmops_resources.serving.options import Options, decide
from llmops_resources.serving.placing import MARKS, Placement
from llmops_resources.settings import Settings
from tests.cluster.kube_api import KubeApi, Object

ENDPOINT_ID = UUID("4f6f2f0e-9a3c-4a76-8f0d-1d0b5e1f3c52")
FILES = (
    StoredFile(path="config.json", size=2, sha256="a" * 64),
    StoredFile(path="model.safetensors", size=8, sha256="b" * 64),
)
DIGEST = Manifest.of(FILES).digest
GPU_IMAGE = "vllm/vllm-openai:v0.11.0"


def cluster_settings(**given: Any) -> Settings:
    base = {"serving_backend": "kubernetes", "object_store_url": "s3://llmops/production", "secret_key": "k" * 32}
    return Settings(_env_file=None, **{**base, **given})


def place(settings: Settings, *, backend: str = "kubernetes", options: dict[str, Any] | None = None,
          **given: Any) -> Placement:  # fmt: skip
    asked = Options(**(options or {}))
    base = {
        "endpoint_id": ENDPOINT_ID, "environment": "dev", "route": "support-chat", "backend": backend, "revision": 3,
        "digest": DIGEST, "storage_uri": "s3://llmops/production/models/m/1", "files": FILES, "min_replicas": 1,
        "max_replicas": 1, "options": decide(settings, backend, asked), "metadata": {},
    }  # fmt: skip
    return Placement(**{**base, **given})


def workload_pods(api: KubeApi) -> list[str]:
    """The names of the pods of endpoints, in order."""
    return [name for name in api.names("Pod") if api.get("Pod", name)["metadata"]["labels"].items() >= MARKS.items()]


def start_pods(api: KubeApi, *, number: int = 1, **status: Any) -> list[str]:
    """Do what the controllers do: pods for every workload's present template, each with this status."""
    made = []
    for kind in ("Deployment", "InferenceService"):
        for name in api.names(kind):
            thing = api.get(kind, name)
            made += [_pod(api, thing, index, status) for index in range(number)]
    return made


def _pod(api: KubeApi, thing: Object, index: int, status: dict[str, Any]) -> str:
    spec, metadata = thing["spec"], thing["metadata"]
    predictor = spec.get("predictor")
    labels = predictor["labels"] if predictor else spec["template"]["metadata"]["labels"]
    containers = predictor or spec["template"]["spec"]
    name = f"{metadata['name']}-{labels['llmops/revision']}-{index}"
    api.put({
        "apiVersion": "v1", "kind": "Pod", "status": status,
        "spec": {key: containers[key] for key in ("containers", "initContainers")},
        "metadata": {"name": name, "namespace": metadata["namespace"], "labels": labels,
                     "ownerReferences": [{"kind": thing["kind"], "name": metadata["name"], "uid": metadata["uid"]}]},
    })  # fmt: skip
    return name


def ready() -> dict[str, Any]:
    return {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def container(name: str = "kserve-container", *, init: bool = False, **state: Any) -> dict[str, Any]:
    """A pod's status with one container in this state."""
    key = "initContainerStatuses" if init else "containerStatuses"
    return {"phase": "Pending" if init else "Running", key: [{"name": name, "restartCount": 0, **state}]}
