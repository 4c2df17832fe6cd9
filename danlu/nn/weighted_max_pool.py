"""Weighted max pooling: the pixels of a window count by their rank, the largest most; the weights of the ranks are learned.

    y = sum_k w_k x_(k),   x_(1) >= x_(2) >= ...,   w = softmax(rank)        one set of weights for each channel

All weight on the first rank is the maximum, equal weights are the mean.

Source: Deliege et al. 2021, Ordinal pooling, https://arxiv.org/abs/2109.01561. The column "AI初识境" on pooling
(https://github.com/longpeng2008/yousan.ai) names weighted max pooling without a formula; this is the form that contains it.
Differs: the softmax keeps the weights positive with the sum one; they start with about a half on the largest.
"""

import math

import torch
from torch import Tensor, nn

from ._pool import Pair, Pool2d
from ._registry import layers


@layers(paper="arxiv:2109.01561")
class WeightedMaxPool2d(Pool2d):
    """A learned blend of the sorted pixels of each window. Where a window reaches over the edge, the last ranks are left out.

    Starts with the weight K / (2 K - 1) on the largest of K pixels, and 1 / (2 K - 1) on each of the others.

    Shape: [B, channels, H, W] -> [B, channels, H', W'], as nn.MaxPool2d
    """

    first = ("channels",)

    def __init__(
        self, channels: int, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.channels = channels
        start = torch.zeros(channels, 1, 1, self.area)
        start[..., 0] = math.log(self.area)
        self.rank = nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> [B, channels, H', W']."""
        weights = self.rank.softmax(-1)
        if not self.reaches_out():
            return (self.windows(x).flatten(4).sort(-1, descending=True).values * weights).sum(-1)
        ranked = self.windows(x, -torch.inf).flatten(4).sort(-1, descending=True).values
        outside = ranked == -torch.inf
        weights = weights.masked_fill(outside, 0.0)
        return (ranked.masked_fill(outside, 0.0) * weights).sum(-1) / weights.sum(-1)
