"""The runtimes that serve models in a cluster, one row each: what the image is told, and how it says that it is well.

All of them serve a folder of files that was fetched and verified before they start, and none is told to reach the Hub:
what is served is what was approved. Sources: the runtimes' own references of their arguments, and FR-006m to FR-006s.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llmops_resources.settings import Settings
from llmops_resources.values import Value

PORT: Final = 8000
MODEL_DIR: Final = "/models"
HOST: Final = "0.0.0.0"  # noqa: S104  - inside a pod; who may reach it is the network policy's to say
VLLM_GPU_IMAGE: Final = "vllm/vllm-openai:v0.11.0"
VLLM_CPU_IMAGE: Final = "public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.11.0"
TGI_GPU_IMAGE: Final = "ghcr.io/huggingface/text-generation-inference:3.3.6"
TGI_CPU_IMAGE: Final = "ghcr.io/huggingface/text-generation-inference:3.3.6-intel-cpu"
HUGGINGFACE_GPU_IMAGE: Final = "kserve/huggingfaceserver:v0.15.2-gpu"
HUGGINGFACE_CPU_IMAGE: Final = "kserve/huggingfaceserver:v0.15.2"
#: From this version on vLLM knows its device by its build, and has no `--device`.
_VLLM_WITHOUT_DEVICE: Final = (0, 9)
_VERSION: Final = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})")
_TGI: Final = re.compile(r"text-generation|(^|[/_-])tgi([/_.-]|$)")


class RuntimeKind(StrEnum):
    VLLM = "vllm"
    TGI = "tgi"
    HUGGINGFACE = "huggingface"
    LLMOPS = "llmops"
    CUSTOM = "custom"


_CPU_IMAGES: Final = {
    RuntimeKind.VLLM: VLLM_CPU_IMAGE,
    RuntimeKind.TGI: TGI_CPU_IMAGE,
    RuntimeKind.HUGGINGFACE: HUGGINGFACE_CPU_IMAGE,
}


@dataclass(frozen=True)
class Asked:
    """What decides a runtime's arguments and environment.

    `gpus` are those of one replica; `version` is that of the image's tag, None when unknown; `memory` what the
    container may use, in bytes.
    """

    served_name: str
    gpus: int
    version: tuple[int, int] | None
    digest: str
    memory: int

    @property
    def use_gpu(self) -> bool:
        """Whether it has any."""
        return self.gpus > 0


@dataclass(frozen=True)
class Probe:
    """A probe's path and its patience: seconds before the first, seconds between two, failures in a row."""

    path: str
    delay: int
    period: int
    failures: int


@dataclass(frozen=True)
class Runtime:
    """One row. `base_path` stands before `/v1`; `command` is None where the image's own is right.

    `shards`: several GPUs of a replica serve one model together, each with a part of every layer.
    """

    kind: RuntimeKind
    command: tuple[str, ...] | None
    arguments: Callable[[Asked], Sequence[str]]
    environment: Callable[[Asked], Mapping[str, str]]
    liveness: Probe
    readiness: Probe
    base_path: str = ""
    shards: bool = False


class CuratedImage(Value):
    """An image that the console offers, and what there is to say about it."""

    image: str
    runtime: RuntimeKind
    use_gpu: bool
    note: str


def detect(image: str, settings: Settings) -> Runtime:
    """The runtime in an image, by the image's name: the registry's host and the tag do not count."""
    return RUNTIMES[RuntimeKind.LLMOPS if image == settings.training_image else kind_of(image)]


def kind_of(image: str) -> RuntimeKind:
    """The kind of runtime that an image's name tells of."""
    name = image_name(image)
    if "vllm" in name:
        return RuntimeKind.VLLM
    if _TGI.search(name):
        return RuntimeKind.TGI
    if "huggingfaceserver" in name:
        return RuntimeKind.HUGGINGFACE
    return RuntimeKind.LLMOPS if name.rpartition("/")[2].startswith("llmops") else RuntimeKind.CUSTOM


def version_of(image: str) -> tuple[int, int] | None:
    """The version in an image's tag; None when it has none that begins with one."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = _VERSION.match(tag)
    return (int(found[1]), int(found[2])) if found else None


def on_cpus(image: str, settings: Settings) -> str:
    """The image that serves on CPUs what another one serves with a GPU: the same runtime's, where there is a build."""
    kind = detect(image, settings).kind
    if kind in {RuntimeKind.LLMOPS, RuntimeKind.CUSTOM}:
        return image if kind is RuntimeKind.LLMOPS else default_image(settings, use_gpu=False)
    return _CPU_IMAGES[kind]


def default_image(settings: Settings, *, use_gpu: bool) -> str:
    """The image of an endpoint that names none.

    With a GPU it is SERVING_RUNTIME_IMAGE. Without, it is SERVING_CPU_RUNTIME_IMAGE, else the platform's own image,
    whose runtime needs no GPU, else a build for CPUs of the runtime that serves with one.
    """
    if use_gpu:
        return settings.serving_runtime_image
    if settings.serving_cpu_runtime_image or settings.training_image:
        return settings.serving_cpu_runtime_image or settings.training_image or ""
    kind = detect(settings.serving_runtime_image, settings).kind
    return _CPU_IMAGES.get(kind, settings.serving_runtime_image)


def image_name(image: str) -> str:
    """The path of an image without its registry, tag and digest, in lower case."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    return name.partition(":")[0].lower()


def curated(settings: Settings) -> list[CuratedImage]:
    """The images that the console offers, the one we advise first."""
    lasting = "Advised: it is developed actively, and serves more models faster."
    ending = "In maintenance since December 2025: prefer vLLM for what is new."
    rows = (
        (VLLM_GPU_IMAGE, RuntimeKind.VLLM, True, lasting),
        (VLLM_CPU_IMAGE, RuntimeKind.VLLM, False, f"{lasting} It needs AVX-512 or AVX2."),
        (TGI_GPU_IMAGE, RuntimeKind.TGI, True, ending),
        (TGI_CPU_IMAGE, RuntimeKind.TGI, False, ending),
        (HUGGINGFACE_GPU_IMAGE, RuntimeKind.HUGGINGFACE, True, "KServe's runtime: vLLM, else Transformers."),
        (HUGGINGFACE_CPU_IMAGE, RuntimeKind.HUGGINGFACE, False, "KServe's runtime: Transformers on CPUs."),
    )
    own = [(settings.training_image, RuntimeKind.LLMOPS, False, "The platform's own, for small models.")]
    return [CuratedImage(image=i, runtime=k, use_gpu=g, note=n) for i, k, g, n in (*rows, *own) if i]


# -- the rows ------------------------------------------------------------------------------------------------------


def _vllm_arguments(asked: Asked) -> list[str]:
    """`--device cpu` stands before `--model` for images below 0.9 and those that do not say their version."""
    old = asked.version is None or asked.version < _VLLM_WITHOUT_DEVICE
    device = ["--device", "cpu"] if old and not asked.use_gpu else []
    where = ["--model", MODEL_DIR, "--host", HOST, "--port", str(PORT)]
    shards = ["--tensor-parallel-size", str(asked.gpus)] if asked.gpus > 1 else []
    return [*device, *where, "--served-model-name", asked.served_name, *shards]


def _vllm_environment(asked: Asked) -> dict[str, str]:
    found = {"VLLM_LOGGING_LEVEL": "DEBUG", "VLLM_NO_USAGE_STATS": "1", "VLLM_CACHE_ROOT": "/tmp/vllm"}  # noqa: S108
    if not asked.use_gpu:
        found |= {"VLLM_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "",
                  "VLLM_CPU_KVCACHE_SPACE": "4"}  # fmt: skip
    return found


def _tgi_environment(asked: Asked) -> dict[str, str]:
    found = {
        "HF_HUB_DOWNLOAD_TIMEOUT": "1800",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_ENABLE_HF_TRANSFER": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512",
    }
    if not asked.use_gpu:
        found |= {"DISABLE_TRITON": "1", "MAMBA_DISABLE_TRITON": "1", "TORCH_COMPILE_DISABLE": "1"}
    return found


def _huggingface_arguments(asked: Asked) -> list[str]:
    backend = "vllm" if asked.use_gpu else "huggingface"
    shards = [f"--tensor-parallel-size={asked.gpus}"] if asked.gpus > 1 else []
    return [f"--model_name={asked.served_name}", f"--model_dir={MODEL_DIR}", f"--http_port={PORT}",
            f"--backend={backend}", *shards]  # fmt: skip


def _tgi_arguments(asked: Asked) -> list[str]:
    shards = ["--num-shard", str(asked.gpus)] if asked.gpus > 1 else []
    return ["--model-id", MODEL_DIR, "--hostname", HOST, "--port", str(PORT), *shards]


def _llmops_arguments(asked: Asked) -> list[str]:
    """It verifies the files once more, and refuses what its memory does not hold instead of dying of it."""
    where = ["--model", MODEL_DIR, "--host", HOST, "--port", str(PORT)]
    bounds = ["--digest", asked.digest, "--memory", str(asked.memory), "--drain", "25"]
    return [*where, "--served-model-name", asked.served_name, *bounds]


def _nothing(_: Asked) -> list[str]:
    return []


def _plain(_: Asked) -> dict[str, str]:
    return {}


#: vLLM and TGI have no `/ready`; their `/health` answers 200 only once the model is loaded.
RUNTIMES: Final[Mapping[RuntimeKind, Runtime]] = {
    RuntimeKind.VLLM: Runtime(
        RuntimeKind.VLLM, ("python3", "-m", "vllm.entrypoints.openai.api_server"), _vllm_arguments, _vllm_environment,
        liveness=Probe("/health", 120, 10, 3), readiness=Probe("/health", 60, 5, 3), shards=True,
    ),
    RuntimeKind.TGI: Runtime(
        RuntimeKind.TGI, None, _tgi_arguments, _tgi_environment,
        liveness=Probe("/health", 300, 10, 5), readiness=Probe("/health", 300, 10, 10), shards=True,
    ),
    RuntimeKind.HUGGINGFACE: Runtime(
        RuntimeKind.HUGGINGFACE, None, _huggingface_arguments, _plain,
        liveness=Probe("/v2/health/live", 120, 10, 3), readiness=Probe("/v2/health/ready", 60, 5, 3),
        base_path="/openai", shards=True,
    ),
    RuntimeKind.LLMOPS: Runtime(
        RuntimeKind.LLMOPS, ("python", "-m", "llmops_assets.serving.runtime"), _llmops_arguments, _plain,
        liveness=Probe("/health", 30, 10, 3), readiness=Probe("/ready", 5, 5, 3),
    ),
    RuntimeKind.CUSTOM: Runtime(
        RuntimeKind.CUSTOM, None, _nothing, _plain,
        liveness=Probe("/health", 120, 10, 3), readiness=Probe("/ready", 60, 5, 3), shards=True,  # it sees them all
    ),
}  # fmt: skip
