"""The optimizers: Muon for the weight matrices of the layers, AdamW for embeddings, norms and the head.

Muon: Keller Jordan and others, "Muon: An optimizer for hidden layers in neural networks", 2024. A step goes along the
orthogonalized momentum, found with a quintic Newton-Schulz iteration. It runs in float32: the customary bfloat16 is
many times slower on processors without such instructions.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from llmops_assets.training.sharding import part_of, whole
from llmops_resources.training.recipe import OptimizerName, Recipe

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the quintic's coefficients, chosen by Jordan for speed at zero
STEPS = 5
MOMENTUM = 0.95


def orthogonalize(matrices: Tensor) -> Tensor:
    """The matrices with their singular values pushed near 1 (0.7 to 1.2), shape `(count, rows, columns)`, float32."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.size(-2) > matrices.size(-1)
    x: Tensor = matrices.float()
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + torch.baddbmm(b * gram, gram, gram, alpha=c) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized, for two-dimensional parameters.

    The step of a matrix is scaled by `sqrt(max(1, rows / columns))`, so that one learning rate fits all shapes.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient."""
        if closure is not None:
            raise NotImplementedError("Muon needs no closure")
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for parameters in shapes.values():
                # A direction is that of a whole matrix, so every process finds it for all and takes its part.
                # One batched product for all matrices of a shape: small ones cost more in calls than in arithmetic.
                updates = orthogonalize(torch.stack([whole(self._momentum(parameter)) for parameter in parameters]))
                rows, columns = parameters[0].shape
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(part_of(update.to(parameter.dtype), parameter), alpha=-rate)
        return None

    def _momentum(self, parameter: Tensor) -> Tensor:
        """Nesterov's look-ahead of the running mean of the gradients."""
        gradient = parameter.grad
        assert gradient is not None  # noqa: S101  (the caller has selected these)
        state: dict[str, Any] = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        mean: Tensor = state["momentum"]
        mean.lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(mean, MOMENTUM)


def optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """What trains the model's parameters under the recipe: one AdamW, and before it one Muon when it is chosen."""
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    head = getattr(model, "lm_head", None)
    embeddings |= {id(p) for p in head.parameters()} if isinstance(head, nn.Module) else set()
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim == 2 and id(p) not in embeddings]
    if recipe.optimizer is OptimizerName.ADAMW or not matrices:
        return [_adamw(trained, recipe)]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained if id(p) not in chosen]
    return [Muon(matrices, recipe.learning_rate, recipe.weight_decay), *([_adamw(rest, recipe)] if rest else [])]


def _adamw(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters, lr=recipe.adamw_learning_rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
    )
