"""The conversion program: `python -I -m llmops_assets.catalog.convert <folder>`, pickled weights into safetensors.

It reads `source/*.bin` and `*.pt`, and writes `converted/*.safetensors` (with an index when there are several). A
pickle is opened here only, once, with `weights_only=True`, which builds tensors and refuses everything else; behind
that stand the walls of `sandbox`. Exit status 2 blames the input. No Dagster, no database, no network.
"""

import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from llmops_assets.catalog import sandbox
from llmops_resources.catalog.airlock.names import INDEX, SINGLE
from llmops_resources.errors import InvalidInput, PlatformError

GIBIBYTE: Final = 1024**3
#: Tensors may share memory, such as tied embeddings, and each gets bytes of its own. More than this is a bomb.
MOST_GROWTH: Final = 3
_INPUT_AT_FAULT: Final = 2
_REASON: Final = re.compile(r"(?:WeightsUnpickler error: |Trying to load )([^\n]{1,200}?)\.?(?:\. |\n|$)")
_WRAPPERS: Final = ("state_dict", "model_state_dict", "module")


def convert(folder: Path) -> None:
    """Convert every pickle of `folder`. Raises InvalidInput for one that is anything but tensors by name."""
    sources = sorted(path for path in (folder / "source").iterdir() if path.suffix.lower() in {".bin", ".pt"})
    target = folder / "converted"
    target.mkdir()
    place: dict[str, str] = {}
    total = 0
    for number, source in enumerate(sources, start=1):
        _say(event="progress", fraction=(number - 1) / len(sources), message=f"converting {source.name}")
        name = SINGLE if len(sources) == 1 else f"model-{number:05d}-of-{len(sources):05d}.safetensors"
        for tensor, size in _convert_one(source, target / name):
            if tensor in place:
                raise InvalidInput(f"two files have the tensor {tensor!r}", remedy="Upload one set of weights.")
            place[tensor] = name
            total += size
    if len(sources) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(place.items()))}
        (target / INDEX).write_text(json.dumps(index, indent=2))


def _convert_one(source: Path, target: Path) -> Iterator[tuple[str, int]]:
    from safetensors.torch import save_file  # noqa: PLC0415  heavy, and only after the walls stand

    size = source.stat().st_size
    tensors = _tensors(source, _load(source))
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if needed > MOST_GROWTH * size + 1024**2:
        raise InvalidInput(
            f"{source.name} has {size:,} bytes and grows to {needed:,}", remedy="Save the weights as safetensors."
        )
    own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(own, target, metadata={"format": "pt"})
    except (KeyError, ValueError, RuntimeError) as error:
        raise InvalidInput(
            f"{source.name} cannot be written as safetensors: {error}", remedy="Convert it to float16 or float32 first."
        ) from error
    yield from ((name, tensor.numel() * tensor.element_size()) for name, tensor in own.items())


def _load(source: Path) -> Any:
    import torch  # noqa: PLC0415  heavy, and only after the walls stand

    with source.open("rb") as stream:
        zipped = stream.read(2) == b"PK"
    try:
        return torch.load(source, map_location="cpu", weights_only=True, mmap=zipped)
    except MemoryError as error:
        raise InvalidInput(f"{source.name} asks for too much memory", remedy="Save it as safetensors.") from error
    except Exception as error:  # a stranger's bytes can make it raise anything
        found = _REASON.search(str(error))
        reason = found[1] if found else f"{type(error).__name__}: {str(error)[:200]}"
        raise InvalidInput(
            f"{source.name} is not plain weights and was not opened: {reason}",
            remedy="Save the weights alone, best as safetensors: model.save_pretrained writes them.",
        ) from error


def _tensors(source: Path, loaded: Any) -> dict[str, Any]:
    import torch  # noqa: PLC0415

    for key in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise InvalidInput(f"{source.name} has no tensors by name", remedy="Save the state dict of the model.")
    other = [str(name)[:100] for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if other or not all(isinstance(name, str) for name in loaded):
        raise InvalidInput(
            f"{source.name} has more than tensors: {', '.join(other[:5])}", remedy="Save the model's state dict alone."
        )
    strange = [name for name, tensor in loaded.items() if tensor.layout is not torch.strided or tensor.is_quantized]
    if strange:
        raise InvalidInput(
            f"{source.name} has sparse or quantized tensors: {', '.join(strange[:5])}",
            remedy="Save them as ordinary tensors.",
        )
    return loaded


def _walls(folder: Path) -> None:
    largest = max((path.stat().st_size for path in (folder / "source").iterdir()), default=0)
    sandbox.limit(
        memory_bytes=8 * GIBIBYTE + 10 * largest,
        cpu_seconds=600 + 60 * largest // GIBIBYTE,
        file_bytes=GIBIBYTE + (MOST_GROWTH + 1) * largest,
    )
    _say(event="walls", exits_closed=sandbox.close_exits())


def _say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def main() -> int:
    """Convert the folder of the command line."""
    warnings.simplefilter("ignore")  # stderr is for the reason alone
    folder = Path(sys.argv[1]).resolve()
    _walls(folder)
    try:
        convert(folder)
    except PlatformError as error:
        print(error.told, file=sys.stderr)
        return _INPUT_AT_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main())
