"""Which files a model may have: an allow-list of names, and for everything else the reason and the way out."""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from llmops_resources.catalog.airlock.report import Problems

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
CONFIG: Final = "config.json"
MAX_FILES: Final = 2_000


class Role(StrEnum):
    """What a file is for; it decides how it is inspected."""

    WEIGHTS = "weights"
    PICKLED_WEIGHTS = "pickled weights"
    JSON = "json"
    TEMPLATE = "template"
    TEXT = "text"
    SENTENCEPIECE = "sentencepiece"


_BY_SUFFIX: Final = {
    ".safetensors": Role.WEIGHTS,
    ".bin": Role.PICKLED_WEIGHTS,
    ".pt": Role.PICKLED_WEIGHTS,
    ".json": Role.JSON,
    ".jinja": Role.TEMPLATE,
    ".txt": Role.TEXT,
    ".md": Role.TEXT,
    ".model": Role.SENTENCEPIECE,
}
_PLAIN_TEXTS: Final = ("license", "licence", "notice", "readme", "copying", "authors", ".gitattributes")
_FOLDERS: Final = ("additional_chat_templates",)
#: Written by trainers beside the weights: pickles that no one needs to run the model.
_TRAINER_LEFTOVERS: Final = ("training_args", "optimizer", "scheduler", "rng_state", "scaler", "trainer_state")

_ARCHIVE = (
    "is an archive, and an archive can hide anything",
    "Unpack it on your machine and upload the files themselves; many files go up in one upload.",
)
_PICKLE = (
    "is a pickle, which can run any program when it is opened",
    "Save the weights as safetensors (model.save_pretrained writes them) and upload those.",
)
_CODE = (
    "is program code, and the platform runs no code that comes with a model",
    "Leave it out; a model that needs its own code cannot be served here.",
)
_PAGE = (
    "can carry scripts that run in a reader's browser",
    "Leave it out, or describe the model in README.md.",
)
_FORMAT = (
    "is in a weights format that the platform's runtimes do not load",
    "Upload the safetensors files of the same model, with config.json and the tokenizer.",
)
_GGUF = (
    "is a GGUF file, which the platform's runtimes do not load",
    "Upload the safetensors files of the same model, or run it in Ollama and register that as an external model.",
)

_UNKNOWN = (
    "is not a kind of file that a model here consists of",
    "Leave it out. Accepted: .safetensors, .json, .txt, .md, .jinja, a tokenizer's .model, and .bin or .pt weights.",
)

_REFUSED: Final = {
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".lz4", ".whl", ".jar", ".nemo"), _ARCHIVE
    ),
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".npy", ".npz", ".pth", ".ckpt", ".th", ".mar"), _PICKLE
    ),
    **dict.fromkeys(
        (".py", ".pyc", ".ipynb", ".sh", ".bash", ".js", ".so", ".dll", ".dylib", ".exe", ".bat", ".ps1", ".rb", ".pl"),
        _CODE,
    ),
    **dict.fromkeys((".html", ".htm", ".svg", ".xml", ".xhtml", ".css"), _PAGE),
    **dict.fromkeys((".onnx", ".h5", ".msgpack", ".pb", ".tflite", ".ot", ".mlmodel", ".keras", ".llamafile"), _FORMAT),
    ".gguf": _GGUF,
    ".ggml": _GGUF,
}  # fmt: skip


def is_top(path: str) -> bool:
    """Whether it lies in the model's own folder, or in one of the few folders below it that models have."""
    folder, _, name = path.rpartition("/")
    return bool(name) and (not folder or folder in _FOLDERS)


def role_of(path: str) -> Role | None:
    """What the file is for, or None when it may not be in a model."""
    name = PurePosixPath(path).name.lower()
    if name.startswith(_PLAIN_TEXTS) and PurePosixPath(name).suffix in {"", ".txt", ".md", ".gitattributes"}:
        return Role.TEXT
    if name.startswith(_TRAINER_LEFTOVERS) and not name.endswith(".json"):
        return None
    return _BY_SUFFIX.get(PurePosixPath(name).suffix)


def check_names(paths: list[str], problems: Problems) -> dict[str, Role]:
    """The role of every file that may stay; a problem for every other one."""
    if len(paths) > MAX_FILES:
        problems.add("files", f"there are {len(paths):,} files", f"A model has at most {MAX_FILES:,} files.")
        return {}
    roles: dict[str, Role] = {}
    for path in paths:
        if not is_top(path):
            problems.add(path, "lies in a folder", "Upload the files of the model's own folder, without folders in it.")
        elif path in roles:
            problems.add(path, "is there twice", "Give every file its own name.")
        elif (role := role_of(path)) is None:
            problems.add(path, *_why_refused(path))
        else:
            roles[path] = role
    return roles


def _why_refused(path: str) -> tuple[str, str]:
    name = PurePosixPath(path).name.lower()
    if name.startswith(_TRAINER_LEFTOVERS):
        return "is the state of a trainer, which no one needs to run the model", "Leave it out."
    return _REFUSED.get(
        PurePosixPath(name).suffix,
        _UNKNOWN,
    )
