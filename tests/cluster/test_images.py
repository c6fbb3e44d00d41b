"""The images of deploy/images: what they copy exists, and what they install is pinned, enough, and no more.

They are not built here, since no container engine is at hand.
"""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
IMAGES = sorted((ROOT / "deploy/images").glob("*.Containerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = {"torch", "transformers", "accelerate", "peft", "safetensors", "tokenizers"}


def _pinned(lock: str) -> dict[str, str]:
    """Name and version of each package, all of which must be named by hash."""
    entries = re.split(r"(?m)^(?=\w)", (ROOT / "locks" / lock).read_text())[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    pairs = [entry.split(maxsplit=1)[0].split("==") for entry in entries]
    return {_canonical(name): version for name, version in pairs}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(*extras: str) -> set[str]:
    """Everything that the project needs here, directly or not, with some of its extras."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    waiting = [Requirement(line) for lines in lists for line in lines]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        key = (_canonical(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        for line in requires(wanted.name) or []:
            more = Requirement(line)
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in {"", *wanted.extras}):
                waiting.append(more)
    return {name for name, _ in seen}


def _copied(image: Path) -> list[str]:
    """The sources that an image copies out of the repository."""
    lines = [line.split()[1:] for line in image.read_text().splitlines() if line.startswith("COPY ")]
    sources = [source for words in lines if not words[0].startswith("--from") for source in words[:-1]]
    return [source.replace("${TORCH_LOCK}", "locks/torch.txt") for source in sources]


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.stem)
def test_everything_an_image_copies_exists_and_is_sent_to_the_builder(image: Path) -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = _copied(image)
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert {Path(source).parts[0] for source in copied} <= sent


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.stem)
def test_an_image_runs_as_the_user_of_the_deployment_and_installs_only_what_is_named_by_hash(image: Path) -> None:
    text = image.read_text()
    assert "\nUSER 10001:10001\n" in text
    installs = re.findall(r"pip install [^\n]*", text)
    assert installs
    assert all("--require-hashes --no-deps -r /locks/" in line for line in installs)


def test_the_image_that_answers_has_all_it_needs_and_nothing_that_trains() -> None:
    pinned, needed = set(_pinned("api.txt")), _needed()
    assert needed <= pinned
    assert HEAVY & (pinned | needed) == set()
    text = (ROOT / "deploy/images/api.Containerfile").read_text()
    assert set(re.findall(r"locks/(\w+)\.txt", text)) == {"api"}


def test_the_image_that_trains_has_all_it_needs_in_the_versions_that_were_tested() -> None:
    pinned, tested = _pinned("train.txt") | _pinned("torch.txt"), _pinned("dev.txt") | _pinned("torch.txt")
    assert _needed("train") <= set(pinned)
    assert {name: version for name, version in pinned.items() if tested.get(name) != version} == {}
    assert {"pytest", "mypy", "moto"} & set(pinned) == set()


def test_the_deployment_runs_each_program_in_the_image_that_has_it() -> None:
    base = ROOT / "deploy/base"
    images = {entry["name"] for entry in yaml.safe_load((base / "kustomization.yaml").read_text())["images"]}
    used: dict[str, set[str]] = {}
    for file in base.rglob("*.yaml"):
        for thing in yaml.safe_load_all(file.read_text()):
            pod = (thing.get("spec") or {}).get("template", {}).get("spec", {}) if thing else {}
            for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
                used.setdefault(thing["metadata"]["name"], set()).add(container["image"])
    assert used.pop("llmops-api") == used.pop("llmops-gateway") == {"llmops-api"}
    assert set().union(*used.values()) == {"llmops"}
    assert images == {"llmops", "llmops-api"}
