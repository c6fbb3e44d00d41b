"""An endpoint as a cluster is asked for it: names, labels, and the pod that both backends share."""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field

from llmops_resources.blobs import StoredFile
from llmops_resources.cluster.hardening import CONTAINER_SECURITY, ON_GPU_NODES, POD_SECURITY
from llmops_resources.cluster.values import ENDPOINT, MANAGED_BY, MODEL, NAME, ROLE, Object
from llmops_resources.errors import Conflict
from llmops_resources.serving import options, runtimes
from llmops_resources.serving.options import Options, Resources
from llmops_resources.serving.reconcile import Desired
from llmops_resources.serving.runtimes import MODEL_DIR, PORT, Probe, Runtime
from llmops_resources.settings import ServingBackend, Settings
from llmops_resources.values import Value

#: What the namespace of every environment must hold; docs/rooms/serving-on-kubernetes.md says how it gets there.
STORE_SECRET: Final = "llm-ops-object-store-credentials"  # noqa: S105  - its name
STORE_CONFIG: Final = "llm-ops-object-store-config"
CONTAINER: Final = "kserve-container"  # KServe gives its defaults to the container of this name alone
FETCHER: Final = "fetch"
#: What every object and pod of every endpoint carries.
MARKS: Final[Mapping[str, str]] = {NAME: "llmops-serving", MANAGED_BY: "llmops", ROLE: "serving"}
REVISION: Final = "llmops/revision"
ROUTE: Final = "llmops/route"
DIGEST: Final = "llmops/digest"
HUB_ID: Final = "llmops/huggingface-model-id"
MISMATCH: Final = 3  # the fetcher's exit status for bytes that are not the approved ones
DRAIN_SECONDS: Final = 30
STARTUP_MINUTES: Final = 30
#: Kept out of a list of sums that travels in the environment: bytes that a shell or `sha256sum` would read otherwise.
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=-]*(/[A-Za-z0-9_][A-Za-z0-9._+=-]*)*")
_HUB: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_LONGEST_SUMS: Final = 100_000
#: Exactly the files of the manifest, each with its sum; what else lies beside them in the store stays there.
_FETCH: Final = f"""set -eu
cd {MODEL_DIR}
printf '%s' "$SHA256SUMS" > /tmp/sums
while read -r sum path; do
  mkdir -p "$(dirname "$path")"
  aws s3 cp --only-show-errors "$MODEL_STORAGE_URI/$path" "$path" < /dev/null
done < /tmp/sums
sha256sum --check --strict --quiet /tmp/sums || exit {MISMATCH}
"""


class Placement(Value):
    """One revision of an endpoint, as far as a cluster need know it."""

    endpoint_id: UUID
    environment: str
    route: str
    backend: str
    revision: int
    digest: str
    storage_uri: str
    files: tuple[StoredFile, ...]
    min_replicas: Annotated[int, Field(ge=0, le=100)]
    max_replicas: Annotated[int, Field(ge=0, le=100)]
    options: Options
    metadata: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of every object: a letter first, and short enough for what KServe adds to it."""
        return f"serve-{self.route[:24].strip('-')}-{hashlib.sha256(self.endpoint_id.bytes).hexdigest()[:8]}"

    @property
    def labels(self) -> dict[str, str]:
        """By which all of an endpoint's objects are found again; they never change."""
        app = {} if self.backend == ServingBackend.KSERVE else {"app": self.name}  # KServe gives its pods one itself
        return {**app, **MARKS, ENDPOINT: str(self.endpoint_id)}

    @property
    def pod_labels(self) -> dict[str, str]:
        """The labels of its pods, which also say of which revision and of which bytes they are."""
        return {**self.labels, REVISION: str(self.revision), MODEL: short(self.digest)}

    @property
    def annotations(self) -> dict[str, str]:
        """What a person who looks at the object wants to know."""
        found = {REVISION: str(self.revision), ROUTE: f"/{self.route}", DIGEST: self.digest}
        hub_id = self.metadata.get("huggingface_model_id")
        if isinstance(hub_id, str) and _HUB.fullmatch(hub_id):
            found[HUB_ID] = hub_id
        return found


def placement(wanted: Desired) -> Placement:
    """A desired endpoint as a placement.

    Raises Conflict when its files are not where pods can read them, ValidationFailed for an unreadable configuration.
    """
    manifest = wanted.model.manifest
    uri = wanted.model.storage_uri or ""
    if not uri.startswith("s3://"):
        raise Conflict(
            f"the files of {wanted.model.name} {wanted.model.version} are not in an object store that pods can read",
            remedy="Set OBJECT_STORE_URL=s3://…, and upload or import the model again.",
        )
    asked = Options.of(wanted.config)
    return Placement(
        endpoint_id=wanted.endpoint_id,
        environment=wanted.environment,
        route=wanted.route,
        backend=wanted.backend,
        revision=wanted.revision,
        digest=manifest.digest,
        storage_uri=uri.rstrip("/"),
        files=manifest.files,
        min_replicas=wanted.least if asked.on_knative else wanted.replicas,
        max_replicas=wanted.max_replicas,
        options=asked,
        metadata=wanted.model.metadata,
    )


def namespace(settings: Settings, environment: str) -> str:
    """Where everything of an environment is: llm-ops-dev, llm-ops-stg, llm-ops-prod."""
    return f"{settings.kubernetes_namespace}-{environment}"


def short(digest: str) -> str:
    """A digest as a label's value: its first 16 hex digits."""
    return digest.removeprefix("sha256:")[:16]


def image_of(placed: Placement, settings: Settings) -> str:
    """The image of the endpoint's revision, decided when it was asked for."""
    return placed.options.serving_runtime_image or runtimes.default_image(
        settings, use_gpu=bool(placed.options.use_gpu)
    )


def runtime_of(placed: Placement, settings: Settings) -> Runtime:
    """The row of the table that the endpoint's image belongs to."""
    return runtimes.detect(image_of(placed, settings), settings)


def pod_spec(placed: Placement, settings: Settings) -> Object:
    """The pod: files fetched and verified by an init container, then served read-only by the runtime.

    Raises Conflict when the model's files cannot be listed for the fetcher.
    """
    wanted = options.resources(settings, placed.options)
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": DRAIN_SECONDS,
        "securityContext": POD_SECURITY,
        "initContainers": [_fetcher(placed, settings)],
        "containers": [_server(placed, settings, wanted)],
        "volumes": [
            {"name": "model", "emptyDir": {"sizeLimit": settings.serving_model_volume_limit}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.serving_shm_limit}},
        ],
    }
    if wanted.gpus:
        spec["tolerations"] = [ON_GPU_NODES]
    if settings.serving_image_pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.serving_image_pull_secret}]
    return spec


def _fetcher(placed: Placement, settings: Settings) -> Object:
    return {
        "name": FETCHER,
        "image": settings.serving_fetch_image,
        "imagePullPolicy": _policy(placed, settings),
        "command": ["/bin/sh", "-c", _FETCH],
        "env": [
            *_store(placed, settings, credentials=True),
            {"name": "SHA256SUMS", "value": sums(placed)},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108
        ],
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _server(placed: Placement, settings: Settings, wanted: Resources) -> Object:
    runtime, image = runtime_of(placed, settings), image_of(placed, settings)
    memory = int(options.size(wanted.memory[1]))
    asked = runtimes.Asked(placed.route, wanted.gpus, runtimes.version_of(image), placed.digest, memory)
    made: Object = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": _policy(placed, settings),
        "env": [
            *_store(placed, settings, credentials=settings.serving_runtime_credentials),
            *({"name": name, "value": value} for name, value in _environment(runtime, asked, wanted).items()),
        ],
        "ports": [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(wanted),
        "startupProbe": _startup(runtime.liveness),
        "livenessProbe": _probe(runtime.liveness),
        "readinessProbe": _probe(runtime.readiness),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }
    if runtime.command:
        made["command"] = list(runtime.command)
    if arguments := list(runtime.arguments(asked)):
        made["args"] = arguments
    return made


def sums(placed: Placement) -> str:
    """The model's files as `sha256sum --check` reads them. Raises Conflict for odd names, or too many."""
    odd = next((file.path for file in placed.files if not _PATH.fullmatch(file.path)), None)
    if odd is not None:
        raise Conflict(
            f"{odd[:80]!r} is not a file name that a pod can fetch",
            remedy="Use letters, digits and . _ - + = / in file names; upload the model again.",
        )
    text = "".join(f"{file.sha256}  {file.path}\n" for file in placed.files)
    if len(text) > _LONGEST_SUMS:
        remedy = "Pack the model into fewer files, a thousand at most."
        raise Conflict(f"{len(placed.files)} files are too many to fetch into a pod", remedy=remedy)
    return text


def _store(placed: Placement, settings: Settings, *, credentials: bool) -> list[Object]:
    """Where the model lies; and only for who fetches it, by which keys."""
    keys = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": STORE_SECRET, "key": name}}}
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]
    address = {"configMapKeyRef": {"name": STORE_CONFIG, "key": "AWS_ENDPOINT_URL", "optional": True}}
    return [
        {"name": "MODEL_STORAGE_URI", "value": placed.storage_uri},
        {"name": "AWS_ENDPOINT_URL", "valueFrom": address},
        {"name": "AWS_DEFAULT_REGION", "value": settings.aws_region},
        *(keys if credentials else []),
    ]


def _environment(runtime: Runtime, asked: runtimes.Asked, wanted: Resources) -> dict[str, str]:
    """Every runtime's: nothing from the Hub, caches in the pod's own volume, and a name for a user without an entry."""
    return {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HOME": "/tmp",  # noqa: S108
        "HF_HOME": "/tmp/hf_cache",  # noqa: S108
        "XDG_CACHE_HOME": "/tmp/cache",  # noqa: S108
        "TRITON_CACHE_DIR": "/tmp/triton",  # noqa: S108
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",  # noqa: S108
        "USER": "llmops",
        "OMP_NUM_THREADS": str(max(int(options.size(wanted.cpu[1])), 1)),
        **runtime.environment(asked),
    }


def _resources(wanted: Resources) -> Object:
    requests: dict[str, str] = {"cpu": wanted.cpu[0], "memory": wanted.memory[0]}
    limits: dict[str, str] = {"cpu": wanted.cpu[1], "memory": wanted.memory[1]}
    if wanted.gpus:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(wanted.gpus)
    return {"requests": requests, "limits": limits}


def _probe(probe: Probe) -> Object:
    return {
        "httpGet": {"path": probe.path, "port": PORT},
        "initialDelaySeconds": probe.delay,
        "periodSeconds": probe.period,
        "timeoutSeconds": 5,
        "failureThreshold": probe.failures,
    }


def _startup(probe: Probe) -> Object:
    """Until it has answered once, the others do not ask: a model that loads for long is not taken for a dead one."""
    return {
        "httpGet": {"path": probe.path, "port": PORT},
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": STARTUP_MINUTES * 60 // 5,
    }


def _policy(placed: Placement, settings: Settings) -> str:
    return str(placed.options.image_pull_policy or settings.serving_image_pull_policy)
