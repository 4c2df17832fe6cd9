"""A penalty on a weight as a parametrisation: the weight stays as it is, its gradient gets the penalty's.

    l1      L += strength sum |w|                                     gradient: strength sign(w)
    group   L += strength sum over rows and columns sqrt(n) |w_g|_2   gradient: strength sqrt(n) w / |w_g|_2 of both its groups

A row holds the weights of one output, a column those of one input; n is the group's size. Whole outputs and inputs go to zero
together under "group", so that they can be cut, or their positions cost nothing to store. The penalty ends when the share
`until` of the training is done: what is left then trains freely.

Source: Liu et al. 2017, https://arxiv.org/abs/1708.06519 (l1 on batch norm scales); Yuan and Lin 2006 and Wen et al. 2016,
https://arxiv.org/abs/1608.03665 (group).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._registry import encodings
from .base import Encoding


@encodings(paper="arxiv:1608.03665")
class Penalty(Encoding):
    """The identity, with a penalty's gradient in the backward pass. `norm`: "l1" or "group" (a weight of >= 2 dimensions)."""

    def __init__(self, *, norm: str, strength: float, until: float = 1.0, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.norm, self.strength, self.until = norm, strength, until
        self.share = 0.0

    def options(self) -> dict[str, Any]:
        return {"norm": self.norm, "strength": self.strength, "until": self.until}

    def advance(self, share: float) -> None:
        self.share = share

    def forward(self, original: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled() and self.share < self.until:
            return _Penalised.apply(original, self.norm, self.strength)
        return original

    def describe(self, weight: Tensor) -> str:
        return f"{self.norm} penalty {self.strength:g}"


class _Penalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, norm: str, strength: float) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.norm, ctx.strength = norm, strength
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return gradient + ctx.strength * slope(weight, ctx.norm), None, None


def slope(weight: Tensor, norm: str) -> Tensor:
    """The gradient of the penalty at strength 1; 0 where a group is 0."""
    if norm == "l1":
        return weight.sign()
    total = torch.zeros_like(weight)
    for axis in (0, 1):
        others = [d for d in range(weight.dim()) if d != axis]
        length = weight.square().sum(others, keepdim=True).sqrt()
        size = weight.numel() / weight.shape[axis]
        total += size**0.5 * weight / length.clamp_min(torch.finfo(weight.dtype).tiny)
    return total
