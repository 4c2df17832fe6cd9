"""Bilinear pooling: how often two channels are active at the same place; and its sketch in far fewer numbers.

    full     Y = 1 / HW  sum over pixels of x x^T                                            C^2 numbers
    compact  y_d = sum over i, j with (h1(i) + h2(j)) mod dim = d of s1(i) s2(j) Y_ij        dim numbers

h1, h2 place a channel at random, s1, s2 are random signs: <y, y'> is <Y, Y'> on average (tensor sketch).

Source: Lin, RoyChowdhury and Maji 2015, https://arxiv.org/abs/1504.07889; compact: Gao et al. 2016,
https://arxiv.org/abs/1511.06062, algorithm 2 (its h, s of Pham and Pagh 2013).
Differs: a mean over the pixels in the place of a sum, which the normalisation behind it makes equal. Gao et al. sketch each pixel
by two FFTs and add up; here Y is sketched once, as the formula says. The same numbers, since a sketch is linear; it costs HW C^2
MACs and no FFT, which few runtimes have, where theirs costs about HW dim log dim.
"""

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers


def outer_mean(x: Tensor) -> Tensor:
    """The mean over the pixels of x x^T. Shape: [B, C, H, W] -> [B, C, C]."""
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / (x.shape[2] * x.shape[3])


@layers(paper="arxiv:1504.07889")
class BilinearPool(nn.Module):
    """All products of two channels, averaged over the map. Shape: [B, C, H, W] -> [B, C * C]."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C * C]."""
        return outer_mean(x).flatten(1)


@layers(paper="arxiv:1511.06062")
class CompactBilinearPool(nn.Module):
    """The tensor sketch of bilinear pooling. Its random places and signs are buffers: they are saved with the weights.

    Shape: [B, channels, H, W] -> [B, dim]
    Raises: UsageError unless channels and dim are at least 1.
    """

    places: Tensor
    signs: Tensor

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        if min(channels, dim) < 1:
            raise UsageError(f"CompactBilinearPool takes channels and dim of at least 1, got {channels} and {dim}")
        self.channels, self.dim = channels, dim
        self.register_buffer("places", torch.randint(dim, (2, channels)))
        self.register_buffer("signs", 2.0 * torch.randint(2, (2, channels)) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> [B, dim]."""
        products = outer_mean(x) * (self.signs[0, :, None] * self.signs[1])
        index = (self.places[0, :, None] + self.places[1]) % self.dim
        empty = products.new_zeros(products.shape[0], self.dim)
        return empty.index_add(1, index.flatten(), products.flatten(1))

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.channels}, {self.dim}"
