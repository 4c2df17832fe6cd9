"""Gated pooling: a blend of maximum and mean whose share is decided for each window by what is in it.

    s = sigmoid(<gate, x>),   y = s max_k x_k + (1 - s) mean_k x_k        gate [k, k]: one filter for all channels of a layer

Source: Lee et al. 2015, https://arxiv.org/abs/1509.08985, section 3.2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._pool import Pair, Pool2d, pair
from ._registry import layers


@layers(paper="arxiv:1509.08985")
class GatedPool2d(Pool2d):
    """Maximum and mean in a share that each window decides; the gate starts at zero, which is one half of each.

    Costs a multiply-accumulate for each pixel of each window.

    Shape: [B, C, H, W] -> [B, C, H', W'], as nn.MaxPool2d
    """

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.gate = nn.Parameter(torch.zeros(1, 1, *pair(kernel_size)))

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, H', W']."""
        channels = x.shape[1]
        share = F.conv2d(self.padded(x), self.gate.repeat(channels, 1, 1, 1), stride=self.stride, groups=channels).sigmoid()
        mean = self.mean(x)
        return mean + share * (self.max(x) - mean)
