"""A model cut over all processes, so that none of them holds it whole: PyTorch's FSDP2 (`fully_shard`).

Each process keeps an equal part of every parameter, of its gradient and of its optimizer state; a layer is put together
while it computes and forgotten afterwards (Rajbhandari et al. 2020, ZeRO stage 3). What leaves the process, a
checkpoint or the model, is whole, so a run's files are the same whether it was cut up or not.
"""

from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor


def shard(model: nn.Module, accelerator: Accelerator) -> None:
    """Cut the model's layers, and what is around them, over all processes, in place; optimizers are made afterwards."""
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    half = accelerator.mixed_precision == "bf16"
    # Gradients are summed in float32: the sum over many processes is where bfloat16 loses most.
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if half else None
    options: dict[str, Any] = {"mesh": mesh, **({"mp_policy": policy} if policy else {})}
    layers = set(getattr(model, "_no_split_modules", None) or ())
    for module in list(model.modules()):
        if type(module).__name__ in layers:
            fully_shard(module, **options)
    # The root too lets go of its weights after each pass, so that evaluation leaves parameters as it found them.
    fully_shard(model, reshard_after_forward=True, **options)


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, put together if it is cut up: then all processes must call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor that every process has, cut as `like` is; no words are exchanged."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    on_device = tensor.to(like.device)
    if all(isinstance(placement, Replicate) for placement in like.placements):
        return DTensor.from_local(on_device, like.device_mesh, like.placements)
    return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)


def put_together(model: nn.Module, *, keep: bool) -> None:
    """Give the model its whole parameters back, in place, on the processor; only where `keep` says so are they kept.

    All processes must call this together; the model can be saved afterwards and no longer be trained.
    """
    made: dict[int, nn.Parameter] = {}  # a tied parameter stays one
    for module in model.modules():
        for name, parameter in module._parameters.items():  # noqa: SLF001  setattr would go through FSDP's hooks
            if not isinstance(parameter, DTensor):
                continue
            if id(parameter) not in made:
                full = whole(parameter.detach()).cpu()
                made[id(parameter)] = nn.Parameter(full if keep else torch.empty(0), parameter.requires_grad)
            module._parameters[name] = made[id(parameter)]  # noqa: SLF001
        if isinstance(module, FSDPModule):
            own: Any = next(kind for kind in type(module).__mro__[1:] if not issubclass(kind, FSDPModule))
            module.__class__ = own
