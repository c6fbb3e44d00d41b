"""The manifests of every runtime and backend on CPUs, one GPU and two: `python -m llmops_resources.serving.reference`.

They are what `manifests.build` returns for one example endpoint, so a reader sees what a cluster is given without
having one. A test fails when they are stale; `--check` exits with 1 then.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

import yaml

from llmops_resources.blobs import Manifest, StoredFile
from llmops_resources.serving import manifests, runtimes
from llmops_resources.serving.options import AutoscalePolicy, Options, decide
from llmops_resources.serving.placing import Placement
from llmops_resources.serving.runtimes import RuntimeKind
from llmops_resources.settings import KserveMode, ServingBackend, Settings

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference" / "serving-manifests"
#: Where endpoints run, and for KServe how; the first word of a file's name.
WAYS: Final = {
    "kubernetes": (ServingBackend.KUBERNETES, None),
    "kserve": (ServingBackend.KSERVE, KserveMode.RAW),
    "knative": (ServingBackend.KSERVE, KserveMode.KNATIVE),
}
DEVICES: Final = {0: "cpu", 1: "gpu", 2: "2gpus"}
OWN_IMAGE: Final = "registry.example.com/llmops:0.1.0"
CUSTOM_IMAGE: Final = "registry.example.com/our-server:1.2.0"
_SPOKEN: Final = {"kubernetes": "Kubernetes", "kserve": "KServe", "knative": "KServe with Knative"}
_DEVICES: Final = ("on CPUs", "with a GPU", "with two GPUs a replica")
_FILES: Final = (
    StoredFile(path="config.json", size=651, sha256="1" * 64),
    StoredFile(path="model.safetensors", size=988_097_824, sha256="2" * 64),
    StoredFile(path="tokenizer.json", size=7_031_645, sha256="3" * 64),
)


def images() -> Iterator[tuple[RuntimeKind, int, str]]:
    """Every runtime's image with no GPU, with one, and with two where they can serve one model together."""
    settings = Settings(_env_file=None, training_image=OWN_IMAGE)
    rows = [(row.runtime, row.use_gpu, row.image) for row in runtimes.curated(settings)]
    rows += [(RuntimeKind.LLMOPS, True, OWN_IMAGE)]
    rows += [(RuntimeKind.CUSTOM, use_gpu, CUSTOM_IMAGE) for use_gpu in (True, False)]
    for kind, use_gpu, image in rows:
        yield kind, int(use_gpu), image
        if use_gpu and runtimes.RUNTIMES[kind].shards:
            yield kind, 2, image


def files() -> dict[str, str]:
    """The name of every file and what stands in it."""
    return {
        f"{way}-{kind}-{DEVICES[gpus]}.yaml": _rendered(way, kind, gpus, image)
        for way in WAYS
        for kind, gpus, image in images()
    }


def stale() -> list[str]:
    """The files that are missing, superfluous or different, by name."""
    there = {path.name: path.read_text() for path in FOLDER.glob("*.yaml")}
    wanted = files()
    return sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))


def _rendered(way: str, kind: RuntimeKind, gpus: int, image: str) -> str:
    backend, mode = WAYS[way]
    settings = Settings(
        _env_file=None,
        serving_backend=backend,
        training_image=OWN_IMAGE,
        aws_region="us-east-1",
        serving_ingress_host="models.example.com",
        serving_ingress_class="nginx",
    )
    on_knative = mode is KserveMode.KNATIVE
    asked = Options(
        use_gpu=gpus > 0,
        gpu_count=gpus if gpus > 1 else None,
        serving_runtime_image=image,
        autoscale_policy=AutoscalePolicy(concurrency=8) if on_knative else AutoscalePolicy(cpu_utilization=70),
        kserve_mode=mode,
    )
    placed = Placement(
        endpoint_id=UUID(int=1),
        environment="prod",
        route="support-chat",
        backend=backend,
        revision=1,
        digest=Manifest.of(_FILES).digest,
        storage_uri="s3://llmops/production/models/00000000-0000-0000-0000-000000000002/1",
        files=_FILES,
        min_replicas=0 if on_knative else 1,
        max_replicas=3,
        options=decide(settings, backend, asked),
    )
    head = (
        f"# {kind} on {_SPOKEN[way]}, {_DEVICES[gpus]}: the objects of one endpoint.\n"
        "# Written by `python -m llmops_resources.serving.reference`; a test fails when it is stale.\n"
    )
    plain = json.loads(json.dumps(manifests.build(placed, settings)))  # nothing shared, so YAML needs no anchors
    return head + str(yaml.dump_all(plain, Dumper=_Readable, sort_keys=False, width=110))


class _Readable(yaml.SafeDumper):  # type: ignore[misc]  # yaml has no types
    """YAML in which a script and a list of files stand line by line."""


def _text(dumper: _Readable, text: str) -> yaml.ScalarNode:
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
    return node


_Readable.add_representer(str, _text)


def main() -> int:
    """Write the files and remove what is none of them; with `--check`, only say whether they are fresh."""
    if "--check" in sys.argv:
        return 1 if stale() else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for path in FOLDER.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
