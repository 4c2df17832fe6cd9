"""Adafactor: Adam's rates from the sums over rows and columns alone, for memory of n + m in place of n m; no momentum.

    G [n, m]:  R <- b R + (1 - b) (sum_m G^2 + 1e-30),   C <- b C + (1 - b) (sum_n G^2 + 1e-30),   b = 1 - t^-decay
    U = G / sqrt(R C / sum_n R),   U' = U / max(1, rms(U) / clip)
    w <- (1 - lr weight_decay) w - max(floor, rms(w)) min(lr, 1 / sqrt(t)) U'

The memory b is 0 at first and nears 1. Steps are a share of the weights' own size. Vectors keep all of G^2.

Source: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235.
Differs: `lr` is the cap that the paper fixes at 0.01; weight decay, which it has not, is decoupled. A convolution [O, I, h, w] is
the matrix [O, I h w]; torch.optim.Adafactor takes the rows and columns of each kernel, which saves a third of 3x3 and
takes several times as long on a processor. For matrices both are the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import UsageError
from ._registry import Groups, above_zero, optimizers

Scaled = Callable[[list[Tensor], list[float]], list[Tensor]]
TINY = 1e-30  # the paper's first epsilon


class Adafactor(torch.optim.Optimizer):
    """State of a parameter: `step`, and `rows` and `columns` of a matrix or `square` of a vector; all tensors."""

    def __init__(self, groups: Groups, *, lr: float, decay: float, clip: float, floor: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.decay, self.clip, self.floor = decay, clip, floor

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; a closure is not called."""
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            for scaled, parameters in (
                (self._matrices, [parameter for parameter in trained if parameter.ndim > 1]),
                (self._vectors, [parameter for parameter in trained if parameter.ndim < 2]),
            ):
                if parameters:
                    self._update(parameters, scaled, group["lr"], group["weight_decay"])

    def _update(self, parameters: list[Tensor], scaled: Scaled, lr: float, weight_decay: float) -> None:
        steps = [self._state(parameter)["step"] for parameter in parameters]
        torch._foreach_add_(steps, _number(1.0, steps), alpha=1.0)
        times = [float(step) for step in steps]
        moves = scaled(parameters, [t**-self.decay for t in times])

        # On the device: reading a norm would wait for it.
        kind = torch.promote_types(parameters[0].dtype, torch.float32)
        roots, caps = torch.tensor(
            [[p.numel() ** 0.5 for p in parameters], [min(lr, t**-0.5) for t in times]], dtype=kind, device=parameters[0].device
        )
        size = torch.stack(torch._foreach_norm(parameters)).to(kind) / roots
        reach = torch.stack(torch._foreach_norm(moves)).to(kind) / roots
        shares = -caps * size.clamp_min(self.floor) / (reach / self.clip).clamp_min(1.0)
        torch._foreach_mul_(moves, list(shares.to(moves[0].dtype).unbind()))
        if weight_decay:
            torch._foreach_mul_(parameters, 1 - lr * weight_decay)
        torch._foreach_add_(parameters, moves)

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            if parameter.ndim > 1:
                state["rows"], state["columns"] = parameter.new_zeros(len(parameter)), parameter.new_zeros(parameter[0].numel())
            else:
                state["square"] = torch.zeros_like(parameter)
        return state

    def _matrices(self, parameters: list[Tensor], news: list[float]) -> list[Tensor]:
        """The gradients over the root of their factored mean squares, of the parameters' shapes; `news` has 1 - b of each."""
        matrices, states = [gradient.flatten(1) for gradient in _gradients(parameters)], [self.state[p] for p in parameters]
        squares = torch._foreach_mul(matrices, matrices)
        kept: list[list[Tensor]] = []
        for name, side in (("rows", 1), ("columns", 0)):
            now, sums = [square.sum(side) for square in squares], [state[name] for state in states]
            torch._foreach_add_(now, _number(TINY, now), alpha=1.0)
            torch._foreach_lerp_(sums, now, news)
            kept.append(sums)
        rows = torch._foreach_div(kept[0], [row.sum() for row in kept[0]])
        torch._foreach_rsqrt_(rows)
        columns = torch._foreach_rsqrt(kept[1])
        moves = [torch.outer(row, column) for row, column in zip(rows, columns, strict=True)]
        torch._foreach_mul_(moves, matrices)
        return [move.view(parameter.shape) for move, parameter in zip(moves, parameters, strict=True)]

    def _vectors(self, parameters: list[Tensor], news: list[float]) -> list[Tensor]:
        """The same of vectors, with all of their squares."""
        gradients, means = _gradients(parameters), [self.state[parameter]["square"] for parameter in parameters]
        squares = torch._foreach_mul(gradients, gradients)
        torch._foreach_add_(squares, _number(TINY, squares), alpha=1.0)
        torch._foreach_lerp_(means, squares, news)
        moves = list(torch._foreach_rsqrt(means))
        torch._foreach_mul_(moves, gradients)
        return moves


def _number(value: float, like: Sequence[Tensor]) -> Tensor:
    """A number as a tensor: wrapped once, and not for each tensor of a list anew, which costs more than adding it."""
    return torch.tensor(value, dtype=like[0].dtype, device=like[0].device)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@optimizers(lr=0.01, growth=0.5, decay="decoupled", paper="arxiv:1804.04235")
def adafactor(groups: Groups, *, lr: float, decay: float = 0.8, clip: float = 1.0, floor: float = 1e-3) -> torch.optim.Optimizer:
    """Factored second moments, clipped steps, and rates relative to the weights.

    Raises: UsageError unless decay and floor > 0, and clip >= 1.
    """
    above_zero("adafactor", decay=decay, floor=floor)
    if not clip >= 1:
        raise UsageError(f"adafactor: clip must be 1 or more, got {clip}")
    return Adafactor(groups, lr=lr, decay=decay, clip=clip, floor=floor)
