"""Mixed pooling: a blend of maximum and mean, in a share that is learned, or drawn anew for each image while training.

    y = s max_k x_k + (1 - s) mean_k x_k
    learned: s = sigmoid(mix), one number a layer;   drawn: s is 0 or 1 in training, 1/2 at inference

Source: learned: Lee et al. 2015, https://arxiv.org/abs/1509.08985, section 3.1; drawn: Yu et al. 2014, Mixed pooling for
convolutional neural networks, https://doi.org/10.1007/978-3-319-11740-9_34.
Differs: the sigmoid keeps the learned share between 0 and 1. At inference Yu et al. take, in each layer, the kind drawn more
often in the last epoch; here it is the expectation.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import unknown
from ._pool import Pair, Pool2d
from ._registry import layers

Share = Literal["learned", "drawn"]


@layers(paper="arxiv:1509.08985")
class MixedPool2d(Pool2d):
    """Maximum and mean of each window in one layer; a learned share starts at one half.

    Shape: [B, C, H, W] -> [B, C, H', W'], as nn.MaxPool2d

    Raises: UsageError for another `share`.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        share: Share = "learned",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        if share not in ("learned", "drawn"):
            raise unknown("share of MixedPool2d", share, ("learned", "drawn"))
        self.share = share
        if share == "learned":
            self.mix = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, H', W']."""
        largest, mean = self.max(x), self.mean(x)
        if self.share == "learned":
            return mean + self.mix.sigmoid() * (largest - mean)
        if self.training:
            return torch.where(torch.rand_like(x[:, :1, :1, :1]) < 0.5, largest, mean)
        return (largest + mean) / 2

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{super().extra_repr()}, share={self.share!r}"
