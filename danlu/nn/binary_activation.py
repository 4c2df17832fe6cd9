"""The sign as an activation: +1 or -1, with the gradient of the hard tanh.

    y = +1 where x >= 0, else -1            dL/dx = dL/dy where |x| <= 1, else 0

Source: Courbariaux et al. 2016, BNN, https://arxiv.org/abs/1602.02830, sections 1.1 to 1.3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._registry import layers


@layers(paper="arxiv:1602.02830")
class BinaryActivation(nn.Module):
    """Zero gives +1, in torch as in ONNX. With `stochastic`, training draws +1 with P = clip((x + 1) / 2, 0, 1).

    Shape: any, kept. The draws come from torch's global generator.
    """

    def __init__(self, *, stochastic: bool = False) -> None:
        super().__init__()
        self.stochastic = stochastic

    def forward(self, x: Tensor) -> Tensor:
        """Shape: any -> the same, of the same type."""
        if self.training:
            signs: Tensor = _Binary.apply(x, self.stochastic)
            return signs
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"stochastic={self.stochastic}" if self.stochastic else ""


class _Binary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stochastic: bool) -> Tensor:
        ctx.save_for_backward(x.abs() <= 1)
        plus = torch.rand_like(x) < (x + 1) / 2 if stochastic else x >= 0
        return torch.where(plus, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None
