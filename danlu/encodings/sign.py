"""Binary weights: the sign of a real weight, times one scale a channel if wanted. The real weight is what is trained.

    weight[c, ...] = a[c] sign(real[c, ...])        sign(0) = +1;  a = 1, or mean |real[c]|, the least-squares scale
    dL/dreal = a dL/dweight  where |real| <= 1, else 0;  with a scale, + dL/da sign(real) / n, n the weights of a channel

Training clips the real weights to [-1, 1]: beyond, they would change nothing and come back late. `stochastic` draws the sign in
training, so that the weight is the clipped real one on average:

    P(+) = hard_sigmoid(real / a) = clip((real / a + 1) / 2, 0, 1)

Source: Courbariaux et al. 2015 and 2016, BinaryConnect and BNN, https://arxiv.org/abs/1511.00363 and
https://arxiv.org/abs/1602.02830; the scale: Rastegari et al. 2016, XNOR-Net, https://arxiv.org/abs/1603.05279.
Differs: the scale has its whole derivative (XNOR-Net's formula keeps the diagonal) and is rounded to float16, straight through,
so that it is stored in 2 bytes; the papers draw with P = hard_sigmoid(real), which is the same for a = 1.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._registry import encodings
from .base import Encoding, Levels

TINY, HUGE = 2.0**-24, 65504.0  # the smallest and the largest float16 above zero


@encodings(paper="arxiv:1603.05279")
class Sign(Encoding):
    """+-1, or +-scale of the channel, by the sign of the real weight. Shape: original and weight alike.

    `axis` is the dimension that counts channels.
    """

    def __init__(self, *, scale: bool = False, stochastic: bool = False, axis: int = 0, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.scale, self.stochastic, self.axis = scale, stochastic, axis

    def options(self) -> dict[str, Any]:
        return {"scale": self.scale, "stochastic": self.stochastic, "axis": self.axis}

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.clamp(-1, 1)

    def forward(self, original: Tensor) -> Tensor:
        learning = self.training and torch.is_grad_enabled()
        if learning and original.is_leaf and original.requires_grad:
            with torch.no_grad():
                original.clamp_(-1, 1)
        scale = self.scales(original)
        sign = _Sign.apply(original, scale.detach() if learning and self.stochastic else None)
        return sign * scale if self.scale else sign

    def scales(self, original: Tensor) -> Tensor:
        """The scale of each channel, as it is used. Shape: [C] with ones around, to be multiplied; [] and 1 without scales."""
        if not self.scale:
            return original.new_ones(())
        others = [d for d in range(original.dim()) if d != self.axis]
        return half(_size(original).mean(others, keepdim=True) if others else _size(original))

    def levels(self, original: Tensor) -> Levels:
        indices = (original.detach() >= 0).long()
        scale = self.scales(original).detach().float().flatten() if self.scale else None
        return Levels(indices, torch.tensor([[-1.0, 1.0]], device=original.device), scale, axis=self.axis)

    def describe(self, weight: Tensor) -> str:
        values = "+-a scale a channel" if self.scale else "+-1"
        return f"1 bit a weight, {values}" + (", drawn in training" if self.stochastic else "")


def half(scale: Tensor) -> Tensor:
    """Scales rounded to float16, straight through; those it cannot hold, 0 too, become its nearest number above 0."""
    rounded = scale.detach().clamp(TINY, HUGE).half().to(scale.dtype)
    return scale + (rounded - scale.detach()) if scale.requires_grad else rounded


def _size(original: Tensor) -> Tensor:
    """|real|, whose gradient at 0 is that of sign(0) = +1."""
    return torch.where(original >= 0, original, -original)


class _Sign(torch.autograd.Function):
    """sign(real), drawn where `draw` gives the scale to draw by; the gradient passes where |real| <= 1.

    What backward needs is saved as a mask: the next call may clip the real weights in place.
    """

    @staticmethod
    def forward(ctx: Any, real: Tensor, draw: Tensor | None) -> Tensor:
        ctx.save_for_backward(real.abs() <= 1)
        if draw is None:
            plus = real >= 0
        else:
            plus = torch.rand_like(real) < (real / draw + 1) / 2
        return torch.where(plus, real.new_ones(()), -real.new_ones(()))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None
