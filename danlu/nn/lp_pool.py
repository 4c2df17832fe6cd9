"""Lp pooling: the power mean of each window, between the mean (p = 1) and the maximum (p -> infinity).

    y = (mean_k |x_k|^p)^(1/p)

Source: Sermanet, Chintala and LeCun 2012, https://arxiv.org/abs/1204.3968, section 2.2.
Differs: the pixels of a window count alike (the authors weight them by a Gaussian). The mean keeps the scale of the map,
where torch's LPPool2d takes the sum; that layer has no padding, wrong values at an edge reached by ceil_mode, and a gradient
that is not a number in a window of zeros, which a ReLU leaves everywhere.
"""

from torch import Tensor

from ..errors import UsageError
from ._pool import Pair, Pool2d
from ._registry import layers


@layers(paper="arxiv:1204.3968")
class LpPool2d(Pool2d):
    """The p-norm of each window, divided by that of a window of ones.

    Shape: [B, C, H, W] -> [B, C, H', W'], as nn.MaxPool2d

    Raises: UsageError for p below 1.
    """

    def __init__(
        self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False, p: float = 2.0
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        if not p >= 1:
            raise UsageError(f"LpPool2d takes a power p of at least 1, got {p!r}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, H', W']."""
        power = self.mean(x.abs().pow(self.p))
        # The root has no slope at zero, and infinity times zero is no number: zeros go around it.
        zero = power == 0
        return power.masked_fill(zero, 1.0).pow(1 / self.p).masked_fill(zero, 0.0)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{super().extra_repr()}, p={self.p:g}"
