"""Checkpoints of a training run: everything the next step depends on, so that a run that goes on ends in the same bits.

A checkpoint is a folder `checkpoints/step-<n>` of the work folder: the weights that are trained, the optimizers'
state and every process's random numbers as safetensors (nothing that would have to be unpickled), and the rest as
JSON. It appears by a rename after its bytes have reached the disk, so there is never half of one.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from llmops_assets.training.sharding import part_of, whole
from llmops_resources.errors import InvalidInput

WEIGHTS: Final = "weights.safetensors"
OPTIMIZERS: Final = "optimizers.safetensors"
RANDOM: Final = "random.safetensors"
PROGRESS: Final = "progress.json"


@dataclass
class Progress:
    """How far a run is. `recent` are the losses since the last point of the curve, `seconds` those of all attempts."""

    recipe_digest: str
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    attempts: int = 1
    recent: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class State:
    """The trained weights by name, and the optimizers' state by `optimizer/parameter/name`, whole."""

    weights: dict[str, Tensor]
    optimizers: dict[str, Tensor]


def gather(model: nn.Module, tools: list[torch.optim.Optimizer], *, keep: bool) -> State:
    """The state to save. All processes must call this together; only those with `keep` keep it."""
    weights, optimizers = {}, {}
    for key, parameter in _trained(model).items():
        full = whole(parameter.detach())
        if keep:
            weights[key] = full.contiguous()
    for number, tool in enumerate(tools):
        for index, state in tool.state_dict()["state"].items():
            for name, value in state.items():
                full = whole(value)
                if keep:
                    optimizers[f"{number}/{index}/{name}"] = full.contiguous()
    return State(weights, optimizers)


def write(
    work: Path,
    progress: Progress,
    state: State,
    randoms: list[dict[str, Tensor]],
    tokenizer: PreTrainedTokenizerBase,
) -> Path:
    """Write the checkpoint of `progress.step`; `randoms` has an entry a process. Its folder."""
    folder = work / "checkpoints"
    folder.mkdir(exist_ok=True)
    part, final = folder / f".step-{progress.step}.part", folder / f"step-{progress.step}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_file(state.weights, part / WEIGHTS)
    save_file(state.optimizers, part / OPTIMIZERS)
    drawn = {f"{rank}/{name}": value for rank, own in enumerate(randoms) for name, value in own.items()}
    save_file(drawn, part / RANDOM)
    (part / PROGRESS).write_text(json.dumps(asdict(progress)), encoding="utf-8")
    tokenizer.save_pretrained(part / "tokenizer", save_jinja_files=False)
    for path in (*part.rglob("*"), part):
        _to_disk(path)
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    _to_disk(folder)
    return final


def read_progress(folder: Path, recipe_digest: str) -> Progress:
    """How far the checkpoint in `folder` is. Raises InvalidInput when it belongs to another recipe."""
    progress = Progress(**json.loads((folder / PROGRESS).read_text(encoding="utf-8")))
    if progress.recipe_digest != recipe_digest:
        raise InvalidInput("the checkpoint was made by another recipe", remedy="Go on with the recipe it was made by.")
    progress.attempts += 1
    return progress


def restore(folder: Path, model: nn.Module, tools: list[torch.optim.Optimizer], rank: int) -> None:
    """Put weights, optimizers and this process's random numbers back as they were when the checkpoint was written.

    Raises InvalidInput when the checkpoint is of another model or of another number of processes.
    """
    saved, parameters = load_file(folder / WEIGHTS), _trained(model)
    if saved.keys() != parameters.keys():
        raise InvalidInput("the checkpoint is of another model", remedy="Go on with the model it was made of.")
    with torch.no_grad():
        for name, value in saved.items():
            parameters[name].copy_(part_of(value, parameters[name]))
    states: dict[int, dict[int, dict[str, Tensor]]] = {number: {} for number in range(len(tools))}
    for key, value in load_file(folder / OPTIMIZERS).items():
        number, index, name = key.split("/", 2)
        place = [parameter for group in tools[int(number)].param_groups for parameter in group["params"]][int(index)]
        states[int(number)].setdefault(int(index), {})[name] = part_of(value, place)
    for position, tool in enumerate(tools):
        tool.load_state_dict({"state": states[position], "param_groups": tool.state_dict()["param_groups"]})
    randoms = load_file(folder / RANDOM)
    if f"{rank}/cpu" not in randoms:
        raise InvalidInput(
            f"the checkpoint has no random numbers of process {rank}",
            remedy="Go on with as many processes as it was made by.",
        )
    torch.set_rng_state(randoms[f"{rank}/cpu"])
    if f"{rank}/cuda" in randoms and torch.cuda.is_available():
        torch.cuda.set_rng_state(randoms[f"{rank}/cuda"])


def random_state() -> dict[str, Tensor]:
    """This process's random numbers, of the processor and of its GPU."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """What training changes; tied parameters appear once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
