"""Weights in one file or in several with an index: every tensor is in exactly one file, and the index says so."""

from typing import Any, Final

from llmops_resources.catalog.airlock.names import INDEX, SINGLE
from llmops_resources.catalog.airlock.report import Problems, shown
from llmops_resources.catalog.airlock.safetensors import Tensor

_AGAIN: Final = "Save the model again (model.save_pretrained writes files and index together) and upload all of them."


def check_shards(
    headers: dict[str, dict[str, Tensor]], index: dict[str, Any] | None, problems: Problems
) -> dict[str, Tensor]:
    """All tensors by name, from those of each sound file (`headers`) and the parsed index, if there is one."""
    merged: dict[str, Tensor] = {}
    home: dict[str, str] = {}
    for path, tensors in headers.items():
        for name, tensor in tensors.items():
            if name in merged:
                problems.add(path, f"the tensor {shown(name)} is in {home[name]} as well", _AGAIN)
            merged[name], home[name] = tensor, path
    if index is not None:
        _check_index(index, home, set(headers), problems)
    elif list(headers) != [SINGLE]:
        _explain_names(sorted(headers), problems)
    return merged


def _check_index(index: dict[str, Any], home: dict[str, str], files: set[str], problems: Problems) -> None:
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()) or not listed:
        problems.add(INDEX, "its weight_map is not an object from tensor name to file name", _AGAIN)
        return
    for file in sorted(set(listed.values()) - files):
        problems.add(INDEX, f"it names the file {shown(file)}, which is not there or not sound", _AGAIN)
    for file in sorted(files - set(listed.values())):
        problems.add(file, f"{INDEX} does not name it", _AGAIN)
    for name, file in listed.items():
        if file in files and home.get(name) != file:
            problems.add(INDEX, f"it says that the tensor {shown(name)} is in {shown(file)}, where it is not", _AGAIN)
    for name in home.keys() - listed.keys():
        problems.add(home[name], f"{INDEX} does not name its tensor {shown(name)}", _AGAIN)


def _explain_names(files: list[str], problems: Problems) -> None:
    if len(files) == 1:
        problems.add(files[0], "is the only weights file and has another name", f"Name it {SINGLE}.")
    elif SINGLE in files:
        others = ", ".join(shown(file) for file in files if file != SINGLE)
        problems.add(SINGLE, f"is there together with {others}", f"Upload {SINGLE} alone, or the shards with {INDEX}.")
    else:
        problems.add(INDEX, f"is missing, and there are {len(files)} weights files", _AGAIN)
