"""What a deployment may ask for besides its model: GPU, image, resources, scaling. Checked here, kept in the endpoint's
configuration, and read again from there by whatever makes manifests, so that a redeployment asks for the same.

No text of a user reaches a manifest unchecked: an image is a reference, sizes are quantities, policies are words.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, ValidationError

from llmops_resources.errors import FieldProblem, ValidationFailed, field_problem
from llmops_resources.serving import runtimes
from llmops_resources.serving.runtimes import Runtime
from llmops_resources.settings import Cpu, Image, KserveMode, Memory, PullPolicy, ServingBackend, Settings
from llmops_resources.values import Value

#: The backends whose endpoints are objects of a Kubernetes cluster.
IN_A_CLUSTER: Final = frozenset({ServingBackend.KUBERNETES, ServingBackend.KSERVE})
_UNITS: Final = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

Percent = Annotated[int, Field(ge=1, le=100)]
GpuCount = Annotated[int, Field(ge=1, le=16)]  # what a node has at most


class AutoscalePolicy(Value):
    """When replicas are added: a mean utilization in percent, a latency in milliseconds, or calls at once a replica.

    The last is how Knative does it, and all that it does.
    """

    target_latency_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None
    gpu_utilization: Percent | None = None
    cpu_utilization: Percent | None = None
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None


class Options(Value):
    """The optional part of a deployment; what is None is the installation's to decide."""

    use_gpu: bool | None = None
    gpu_count: GpuCount | None = None
    serving_runtime_image: Image | None = None
    image_pull_policy: PullPolicy | None = None
    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None
    autoscale_policy: AutoscalePolicy | None = None
    kserve_mode: KserveMode | None = None
    prompt_policy_id: UUID | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Options":
        """The options in an endpoint's configuration, which may hold more. Raises ValidationFailed."""
        names = {field.alias or name: name for name, field in cls.model_fields.items()}
        try:
            return cls.model_validate({alias: config[alias] for alias in names if alias in config})
        except ValidationError as error:
            first = error.errors()[0]
            raise ValidationFailed(
                f"the endpoint's configuration cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}",
                remedy="Deploy to the route again.",
            ) from error

    @property
    def on_knative(self) -> bool:
        """Whether Knative is to make its replicas."""
        return self.kserve_mode is KserveMode.KNATIVE

    @property
    def config(self) -> dict[str, Any]:
        """As it is kept with the endpoint: what was decided, in camelCase."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Resources(Value):
    """Cores and memory of one replica: what is reserved, and what may be used; whole GPUs."""

    cpu: tuple[str, str]
    memory: tuple[str, str]
    gpus: int = 0


class ReplicaDefaults(Value):
    """What a replica gets that asks for nothing: its image, cores and memory reserved and allowed."""

    image: str
    resources: Resources


class Backend(Value):
    """A place where models with files may run here. `chooses`: a deployment there may choose image, GPU, resources and
    scaling; `cpu` and `gpu` are then what it gets when it does not, and `kserve_mode` how KServe runs it."""

    name: ServingBackend
    default: bool
    chooses: bool
    cpu: ReplicaDefaults | None = None
    gpu: ReplicaDefaults | None = None
    use_gpu: bool = False
    kserve_mode: KserveMode | None = None


def backends(settings: Settings) -> list[Backend]:
    """Where a deployment may run here, the default first."""
    present = settings.endpoint_backend
    known = list(ServingBackend) if present in IN_A_CLUSTER else [ServingBackend.LOCAL]
    found = []
    for name in sorted(known, key=lambda it: it != present):
        if name not in IN_A_CLUSTER:
            found.append(Backend(name=name, default=name == present, chooses=False))
            continue
        kinds = {
            use_gpu: ReplicaDefaults(
                image=runtimes.default_image(settings, use_gpu=use_gpu),
                resources=resources(settings, Options(use_gpu=use_gpu)),
            )
            for use_gpu in (False, True)
        }
        found.append(
            Backend(
                name=name, default=name == present, chooses=True, cpu=kinds[False], gpu=kinds[True],
                use_gpu=settings.use_gpu, kserve_mode=settings.kserve_mode if name == ServingBackend.KSERVE else None,
            )
        )  # fmt: skip
    return found


def decide(settings: Settings, backend: str, asked: Options) -> Options:
    """The options with everything decided that must stay the same when the installation's defaults change.

    Raises ValidationFailed when the backend is not there or runs no images, or when a request is above its limit.
    """
    check_backend(settings, backend)
    if backend not in IN_A_CLUSTER:
        problems = _scaled_in_vain(backend, asked) if asked.kserve_mode else []
        if asked.serving_runtime_image is not None:
            remedy = "Leave it out, or deploy to a cluster with backend kubernetes or kserve."
            problems += [field_problem("servingRuntimeImage", "a process of this machine runs in no image", remedy)]
        if problems:
            raise ValidationFailed("the deployment request cannot be met", details=problems)
        return asked
    use_gpu = settings.use_gpu if asked.use_gpu is None else asked.use_gpu
    image = asked.serving_runtime_image or runtimes.default_image(settings, use_gpu=use_gpu)
    mode = (asked.kserve_mode or settings.kserve_mode) if backend == ServingBackend.KSERVE else asked.kserve_mode
    decided = asked.model_copy(update={"use_gpu": use_gpu, "serving_runtime_image": image, "kserve_mode": mode})
    problems = [
        *_gpus_in_vain(decided, runtimes.detect(image, settings)),
        *_above_limits(resources(settings, decided), decided),
        *_scaled_in_vain(backend, decided),
    ]
    if problems:
        raise ValidationFailed("the deployment request cannot be met", details=problems)
    return decided


def check_backend(settings: Settings, backend: str) -> None:
    """Raises ValidationFailed when this installation has no such backend."""
    there = {ServingBackend.LOCAL}
    if settings.endpoint_backend in IN_A_CLUSTER:
        there |= IN_A_CLUSTER
    if backend not in there:
        remedy = "Leave it out, or set SERVING_BACKEND and connect a cluster (docs/rooms/serving-on-kubernetes.md)."
        problem = field_problem("backend", f"{backend!r} is not set up here", remedy)
        raise ValidationFailed("the deployment request cannot be met", details=[problem])


def resources(settings: Settings, options: Options) -> Resources:
    """What one replica gets: the endpoint's own wishes, else the installation's for a GPU or for CPUs alone."""
    if options.use_gpu:
        cpu = (settings.serving_cpu_request, settings.serving_cpu_limit)
        memory = (settings.serving_memory_request, settings.serving_memory_limit)
    else:
        cpu = (settings.serving_cpu_only_cpu_request, settings.serving_cpu_only_cpu_limit)
        memory = (settings.serving_cpu_only_memory_request, settings.serving_cpu_only_memory_limit)
    return Resources(
        cpu=(options.cpu_request or cpu[0], options.cpu_limit or _at_least(cpu[1], options.cpu_request)),
        memory=(
            options.memory_request or memory[0],
            options.memory_limit or _at_least(memory[1], options.memory_request),
        ),
        gpus=(options.gpu_count or 1) if options.use_gpu else 0,
    )


def size(quantity: str) -> Decimal:
    """`4`, `500m` and `8Gi` as a number."""
    if quantity.endswith("m"):
        return Decimal(quantity[:-1]) / 1000
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if quantity.endswith(unit)), "")
    return Decimal(quantity.removesuffix(unit)) * _UNITS.get(unit, 1)


def _at_least(limit: str, request: str | None) -> str:
    """An installation's limit does not stand below what an endpoint reserves."""
    return request if request is not None and size(request) > size(limit) else limit


def _gpus_in_vain(decided: Options, runtime: Runtime) -> list[FieldProblem]:
    """GPUs that would be reserved for a replica that cannot use them."""
    if (decided.gpu_count or 1) == 1:
        return []
    if not decided.use_gpu:
        return [field_problem("gpuCount", "a replica without a GPU has none to count", "Leave it out, or set useGpu.")]
    if not runtime.shards:
        problem = f"the {runtime.kind} runtime serves from one GPU"
        return [field_problem("gpuCount", problem, "Leave it out, or choose an image of vLLM or TGI.")]
    return []


def _scaled_in_vain(backend: str, decided: Options) -> list[FieldProblem]:
    """A mode or a measure that whatever makes the replicas does not know."""
    if decided.kserve_mode is not None and backend != ServingBackend.KSERVE:
        return [field_problem("kserveMode", f"{backend} has no such mode", "Leave it out, or choose backend kserve.")]
    said = (decided.autoscale_policy or AutoscalePolicy()).model_dump(by_alias=True, exclude_none=True)
    foreign = [name for name in said if (name == "concurrency") is not decided.on_knative]
    if decided.on_knative:
        remedy = "Give concurrency: Knative adds replicas by calls at once."
    else:
        remedy = "Give cpuUtilization; concurrency is for KServe in the mode knative."
    return [field_problem(f"autoscalePolicy.{name}", "is not measured there", remedy) for name in foreign]


def _above_limits(wanted: Resources, asked: Options) -> list[FieldProblem]:
    """A request above its limit, which Kubernetes would refuse later and with fewer words."""
    pairs = {"cpu": wanted.cpu, "memory": wanted.memory}
    said = {"cpu": asked.cpu_limit, "memory": asked.memory_limit}
    return [
        field_problem(f"{name}Limit", f"{high} is below the {low} that are reserved", f"Ask for at least {low}.")
        for name, (low, high) in pairs.items()
        if size(low) > size(high) and said[name] is not None
    ]
