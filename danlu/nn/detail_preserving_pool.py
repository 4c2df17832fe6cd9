"""Detail-preserving pooling: pixels that differ from the mean of their window count more, as an eye keeps details.

    y = sum_k w_k x_k / sum_k w_k,   w_k = alpha + rho(x_k - mean_j x_j)
    rho(d) = (max(d, 0)^2 + 0.001^2)^(lambda / 2),   symmetric: rho(d) = (d^2 + 0.001^2)^(lambda / 2)

alpha and lambda are learned for each channel: lambda = 0 is the mean; the larger lambda / alpha, the more it is the maximum.

Source: Saeedan et al. 2018, https://arxiv.org/abs/1804.04076, equations 3 to 6 (the form without a learned filter, "lite").
Differs: alpha and lambda are softplus of free parameters, which keeps them positive.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._pool import Pair, Pool2d
from ._registry import layers

EPSILON = 1e-3


@layers(paper="arxiv:1804.04076")
class DetailPreservingPool2d(Pool2d):
    """A mean weighted by detail, asymmetric (only brighter pixels are details) or `symmetric`.

    Shape: [B, channels, H, W] -> [B, channels, H', W'], as nn.MaxPool2d
    """

    first = ("channels",)

    def __init__(
        self,
        channels: int,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        symmetric: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.channels = channels
        self.symmetric = symmetric
        self.alpha = nn.Parameter(torch.zeros(channels, 1, 1, 1, 1))
        self.power = nn.Parameter(torch.zeros(channels, 1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> [B, channels, H', W']."""
        pixels = self.windows(x)
        detail = pixels - self.mean(x)[..., None, None]
        if not self.symmetric:
            detail = detail.relu()
        weights = F.softplus(self.alpha) + (detail.square() + EPSILON**2).pow(F.softplus(self.power) / 2)
        if self.reaches_out():
            weights = weights * self.inside(x)
        return (pixels * weights).sum((-2, -1)) / weights.sum((-2, -1))

    def extra_repr(self) -> str:
        """Its arguments."""
        return super().extra_repr() + (", symmetric=True" if self.symmetric else "")
