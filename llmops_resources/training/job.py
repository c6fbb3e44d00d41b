"""What a training job is in a cluster: pure functions from what it asks for to manifests.

A job of one node is the Dagster run's own pod, shaped by the run's tags (`run_tags`). A job of several nodes, and with
TRAINING_ISOLATED every job, is an Indexed Job with a headless service (`node_job`, `rendezvous`), which the run makes
and watches; its pods hold no credentials of the platform, only links to what their own job reads and writes.

No text that a user writes reaches a manifest as it is: a GPU type is looked up in a table, sizes are numbers and
checked quantities, and addresses are parsed. Labels are made of ids.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import ConfigDict, Field, ValidationError

from llmops_resources.cluster import hardening
from llmops_resources.cluster.values import Role, labels
from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.settings import Settings
from llmops_resources.training import pods
from llmops_resources.training.jobs import Job
from llmops_resources.training.pods import Object, Quantities
from llmops_resources.values import Value, sha256_of

K8S_CONFIG: Final = "dagster-k8s/config"
MANIFEST: Final = "llmops/manifest"
RENDEZVOUS_PORT: Final = 29_500
CHECKPOINT_SECONDS: Final = 180  # between SIGTERM and SIGKILL, for the last checkpoint
SPARE_SECONDS: Final = 600  # of the deadline, for the image and the inputs
KEPT_SECONDS: Final = 3600  # of a finished Job, for people who want to look at it
LAUNCHER: Final = "llmops-launcher"  # the service account of runs that make Jobs
RUNNER: Final = "llmops-runner"  # the one of everything else; it may do nothing
ERRAND: Final = "/errand/errand.json"
WORK: Final = "/work"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]{1,100}){0,8}/?")

#: The nvidia.com/gpu.product labels of common types, as NVIDIA's feature discovery writes them.
GPU_PRODUCTS: Final[Mapping[str, tuple[str, ...]]] = {
    "h200": ("NVIDIA-H200", "NVIDIA-H200-NVL"),
    "h100": ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"),
    "a100": ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-80GB-PCIe", "NVIDIA-A100-PCIE-40GB"),
    "l40s": ("NVIDIA-L40S",),
    "l4": ("NVIDIA-L4",),
    "a10": ("NVIDIA-A10", "NVIDIA-A10G"),
    "v100": ("Tesla-V100-SXM2-16GB", "Tesla-V100-SXM2-32GB", "Tesla-V100-PCIE-16GB"),
    "t4": ("Tesla-T4",),
}


class Ask(Value):
    """What a job asks of a cluster. GPUs, cores and memory are those of one node; `max_minutes` of one attempt."""

    job_id: UUID
    attempt: Annotated[int, Field(ge=1)]
    use_gpu: bool = False
    gpu_count: Annotated[int, Field(ge=1, le=64)] = 1
    gpu_type: str | None = None
    nodes: Annotated[int, Field(ge=1, le=256)] = 1
    processes: Annotated[int, Field(ge=1, le=64)] = 1  # of one node
    cpu_cores: Annotated[float, Field(gt=0, le=1_024)] | None = None
    memory: str | None = None
    max_minutes: Annotated[int, Field(ge=1, le=30 * 24 * 60)] = 24 * 60
    api_base_url: str | None = None

    @property
    def name(self) -> str:
        """Of the Job, its service and its secret; short enough for a host name with an index behind it."""
        return f"train-{self.job_id}-{self.attempt}"


class _Profile(Value):
    model_config = ConfigDict(extra="ignore")

    gpu_count: int | None = None
    gpu_type: str | None = None
    nodes: int = 1
    max_duration: int | None = None
    cpu_cores: float | None = None
    memory: str | None = None


def ask_of(job: Job) -> Ask:
    """What a job asks for: its resource profile, as decided when it was submitted.

    Raises ValidationFailed for a profile that cannot be read.
    """
    told = job.json_dict()
    decided: Mapping[str, Any] = told.get("resourceDecision") or {}
    try:
        profile = _Profile.model_validate(told["resourceProfile"])
        asked = Ask(
            job_id=job.id,
            attempt=job.state.attempt,
            use_gpu=decided["device"] == "gpu" if "device" in decided else job.recipe.use_gpu,
            gpu_count=max(profile.gpu_count or 1, 1),
            gpu_type=decided.get("pool") if decided.get("device") == "gpu" else profile.gpu_type,
            nodes=profile.nodes,
            processes=max(job.recipe.processes // profile.nodes, 1),
            cpu_cores=profile.cpu_cores,
            memory=profile.memory,
            api_base_url=told.get("apiBaseUrl"),
        )
    except ValidationError as error:
        raise _invalid("resourceProfile", error.errors()[0]["msg"], "Submit the job with another profile.") from error
    return asked.model_copy(update={"max_minutes": profile.max_duration}) if profile.max_duration else asked


def has_own_pods(ask: Ask, settings: Settings) -> bool:
    """Whether the job trains in pods of its own and not in the run's."""
    return ask.nodes > 1 or settings.training_isolated


def api_base_url(asked: str | None, settings: Settings, *, minikube: bool) -> str:
    """The API as training pods reach it: the job's wish, then TRAINING_API_BASE_URL, then a minikube's host, then ours.

    Raises ValidationFailed when the wish is not an http or https address without credentials and query.
    """
    if asked is not None:
        return _checked(asked)
    if settings.training_api_base_url is not None:
        return settings.training_api_base_url
    host = "host.minikube.internal" if minikube else f"llmops-api.{settings.kubernetes_namespace}.svc"
    return f"http://{host}:{settings.api_port}/llm-ops/v1"


def run_tags(ask: Ask, settings: Settings, *, minikube: bool) -> dict[str, str]:
    """The tags of the Dagster run of a job: they make its pod the training pod, or the small one that launches others.

    What every run has (security, volumes, the image) is the instance's (`llmops_assets/cluster_instance.py`), and
    Dagster lets tags change nothing but what is here.

    Raises ValidationFailed when the profile asks for more than a node may have, or for a GPU type we do not know.
    """
    url = api_base_url(ask.api_base_url, settings, minikube=minikube)
    environment = [
        {"name": "API_BASE_URL", "value": url},
        {"name": "TRAINING_API_BASE_URL", "value": url},  # what our own settings read, for the program's environment
        {"name": "HF_HUB_OFFLINE", "value": "1"},
    ]
    launches = has_own_pods(ask, settings)
    container: Object = {"env": environment}
    spec: Object = {"terminationGracePeriodSeconds": CHECKPOINT_SECONDS}
    if launches:
        node_job(ask, settings, minikube=minikube)  # refused now, and not by a run that has waited for its pod
        container["resources"] = pods.LAUNCHER_RESOURCES
        container["env"] = [*environment, *pods.ITSELF]
        spec |= {"serviceAccountName": LAUNCHER, "automountServiceAccountToken": True}
    else:
        container["resources"] = pods.resources(quantities(ask, settings), gpus=ask.gpu_count if ask.use_gpu else 0)
        spec |= _placement(ask, settings)
    config = {
        "container_config": container,
        "pod_spec_config": spec,
        "pod_template_spec_metadata": {"labels": labels(ask.job_id, ask.attempt, Role.RUN)},
        "job_metadata": {"labels": labels(ask.job_id, ask.attempt, Role.RUN)},
        "job_spec_config": {
            "activeDeadlineSeconds": _deadline(ask) + (SPARE_SECONDS if launches else 0),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
        },
    }
    return {K8S_CONFIG: json.dumps(config, sort_keys=True)}


def node_job(ask: Ask, settings: Settings, *, minikube: bool, owner: Object | None = None) -> Object:
    """The Indexed Job of a job's nodes, suspended until what its pods need is there.

    Every pod runs `llmops_assets.training.node`, which fetches the inputs and starts `torchrun`. A pod that loses its
    place ends the Job, since its peers cannot go on without it; alone, it is made again and goes on by itself.

    Raises ValidationFailed as `run_tags` does.
    """
    marks = labels(ask.job_id, ask.attempt, Role.NODE)
    template = {"metadata": {"labels": marks, "annotations": pods.STAY}, "spec": _node_pod(ask, settings, minikube)}
    spec: Object = {
        "suspend": True,
        "completionMode": "Indexed",
        "completions": ask.nodes,
        "parallelism": ask.nodes,
        "backoffLimit": 0,
        "activeDeadlineSeconds": _deadline(ask),
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob" if ask.nodes > 1 else "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                }
            ]
        },
        "template": template,
    }
    metadata: Object = {"name": ask.name, "labels": marks, "annotations": {MANIFEST: sha256_of(_comparable(ask, spec))}}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def rendezvous(ask: Ask, owner: Object) -> Object:
    """The headless service by which the first pod has a name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _owned(ask, owner),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # it waits for nobody to be ready: that is what it is for
            "selector": labels(ask.job_id, ask.attempt, Role.NODE),
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT, "protocol": "TCP"}],
        },
    }


def secret(ask: Ask, owner: Object, *, token: str, errand: str) -> Object:
    """What the pods must know and nobody else: their job's token, and the links to its files."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _owned(ask, owner),
        "type": "Opaque",
        "stringData": {"token": token, "errand.json": errand},
    }


def quantities(ask: Ask, settings: Settings) -> Quantities:
    """What a node asks for and may use. Raises ValidationFailed when it asks for more than it may use."""
    if ask.use_gpu:
        installed = Quantities(
            cpu=(settings.training_gpu_cpu_request, settings.training_gpu_cpu_limit),
            memory=(settings.training_gpu_memory_request, settings.training_gpu_memory_limit),
        ).times(ask.gpu_count)
    else:
        installed = Quantities(
            cpu=(settings.training_cpu_only_cpu_request, settings.training_cpu_only_cpu_limit),
            memory=(settings.training_cpu_only_memory_request, settings.training_cpu_only_memory_limit),
        )
    cores = f"{max(round(ask.cpu_cores * 1000), 1)}m" if ask.cpu_cores is not None else None
    return installed.asking(cpu=cores, memory=ask.memory)


def _owned(ask: Ask, owner: Object) -> Object:
    marks = labels(ask.job_id, ask.attempt, Role.NODE)
    return {"name": ask.name, "labels": marks, "ownerReferences": [owner]}


def _node_pod(ask: Ask, settings: Settings, minikube: bool) -> Object:
    torchrun = [
        f"--nnodes={ask.nodes}",
        f"--nproc-per-node={ask.processes}",
        "--node-rank=$(JOB_COMPLETION_INDEX)",
        f"--master-addr={ask.name}-0.{ask.name}",
        f"--master-port={RENDEZVOUS_PORT}",
    ]
    wanted = quantities(ask, settings)
    container = {
        "name": "train",
        "image": settings.training_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "llmops_assets.training.node", ERRAND, WORK],
        "args": torchrun,
        "env": [
            {"name": "API_BASE_URL", "value": api_base_url(ask.api_base_url, settings, minikube=minikube)},
            {"name": "JOB_ID", "value": str(ask.job_id)},
            {"name": "JOB_TOKEN", "valueFrom": {"secretKeyRef": {"name": ask.name, "key": "token"}}},
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "OMP_NUM_THREADS", "value": str(max(wanted.whole_cores // ask.processes, 1))},
            *pods.HOME,
        ],
        "resources": pods.resources(wanted, gpus=ask.gpu_count if ask.use_gpu else 0),
        "securityContext": hardening.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *pods.MOUNTS,
            {"name": "work", "mountPath": WORK},
            {"name": "errand", "mountPath": ERRAND.rpartition("/")[0], "readOnly": True},
        ],
    }
    errand = {"secretName": ask.name, "defaultMode": 0o440, "items": [{"key": "errand.json", "path": "errand.json"}]}
    spec: Object = {
        "restartPolicy": "Never",
        "subdomain": ask.name,
        "serviceAccountName": RUNNER,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": CHECKPOINT_SECONDS,
        "securityContext": hardening.POD_SECURITY,
        "containers": [container],
        "volumes": [
            *pods.volumes(),
            {"name": "work", "emptyDir": {"sizeLimit": settings.training_scratch_limit}},
            {"name": "errand", "secret": errand},
        ],
        **_placement(ask, settings),
    }
    if settings.training_image_pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.training_image_pull_secret}]
    return spec


def _placement(ask: Ask, settings: Settings) -> Object:
    """Which nodes a pod may be on."""
    if not ask.use_gpu:
        return {}
    placed: Object = {"tolerations": [hardening.ON_GPU_NODES]}
    if ask.gpu_type is not None:
        known = {**GPU_PRODUCTS, **settings.training_gpu_products}
        if ask.gpu_type.lower() not in known:
            remedy = f"Use one of: {', '.join(sorted(known))}; an operator adds types to TRAINING_GPU_PRODUCTS."
            raise _invalid("resourceProfile.gpuType", "is a type of GPU that this installation cannot place", remedy)
        placed["affinity"] = pods.on_products(known[ask.gpu_type.lower()])
    return placed


def _deadline(ask: Ask) -> int:
    return 60 * ask.max_minutes + SPARE_SECONDS


def _comparable(ask: Ask, spec: Object) -> str:
    """The same for two attempts that ask for the same."""
    return json.dumps(spec, sort_keys=True).replace(ask.name, "").replace(f'"llmops/attempt": "{ask.attempt}"', "")


def _checked(url: str) -> str:
    remedy = "Give an address such as http://host.minikube.internal:8000/llm-ops/v1."
    try:
        parts = urlsplit(url)
        named = parts.scheme in {"http", "https"} and parts.hostname and _HOST.fullmatch(parts.hostname)
        plain = parts.port != 0 and not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        named, plain = None, False
    if not (named and plain and _PATH.fullmatch(parts.path)) or len(url) > 500 or url != parts.geturl():
        raise _invalid("apiBaseUrl", "is not an address that a pod could use", remedy)
    return url.rstrip("/")


def _invalid(path: str, problem: str, remedy: str) -> ValidationFailed:
    details = [field_problem(path, problem, remedy)]
    return ValidationFailed(f"{path} {problem}", remedy=remedy, details=details)
