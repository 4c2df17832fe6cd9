"""DSConv: a kernel of small integers that stay as they are, and the few floats that shift their distribution, which are trained.

    weight[o, i, p] = (n[o, i, p] s[o, i // block, p] + t[o, i // block, p]) S[o] + T[o],      p: a position in the kernel

n are the integers of `bits` bits (VQK, "variable quantised kernel"); s and t serve `block` inputs each (KDS, "kernel distribution
shift"), S and T an output channel (CDS, "channel distribution shift"). At first t = T = 0 and S = 1.

It is the layer of a net made in this form. `quantize_weights(method="dsconv")` brings a trained net into it: there n, s and
S (without t and T, so that zeros stay zeros) are an encoding of the weights of ordinary convolutions, stored in few bits.

Source: Gennari do Nascimento et al. 2019, https://arxiv.org/abs/1901.01928 (first version).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

from ..encodings import BlockGrid
from ..errors import UsageError
from ._registry import layers
from .group_shuffle import Pair

MOST_BITS = 8  # an int8 holds them


@layers(paper="arxiv:1901.01928")
class DSConv2d(_ConvNd):
    """A convolution whose kernel is integers times trained scales, plus trained shifts. `weight`, the integers, is a buffer.

    A fresh one has the integers of torch's fresh weights; `of` takes those of a given convolution.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W'], H' and W' as nn.Conv2d gives

    Raises: UsageError for bits out of 2..8 or a block below 1.
    """

    weight: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Pair, *, stride: Pair = 1, padding: Pair | str = 0,
        dilation: Pair = 1, groups: int = 1, bias: bool = True, bits: int = 4, block: int = 64,
        device: torch.device | None = None, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        if not 2 <= bits <= MOST_BITS or block < 1:
            raise UsageError(f"DSConv2d has 2 to {MOST_BITS} bits and blocks of 1 input or more, got {bits=} and {block=}")
        padding = padding if isinstance(padding, str) else pair(padding)
        super().__init__(
            in_channels, out_channels, pair(kernel_size), pair(stride), padding, pair(dilation), transposed=False,
            output_padding=(0, 0), groups=groups, bias=bias, padding_mode="zeros", device=device, dtype=dtype,
        )  # fmt: skip
        self.bits, self.block = bits, block
        fresh = self.weight.detach()
        del self.weight
        self.register_buffer("weight", torch.zeros_like(fresh, dtype=torch.int8))
        blocks = (out_channels, math.ceil(fresh.shape[1] / block), *fresh.shape[2:])
        self.kernel_scale = nn.Parameter(fresh.new_ones(blocks))
        self.kernel_shift = nn.Parameter(fresh.new_zeros(blocks))
        self.channel_scale = nn.Parameter(fresh.new_ones(out_channels, 1, 1, 1))
        self.channel_shift = nn.Parameter(fresh.new_zeros(out_channels, 1, 1, 1))
        self.take(fresh)

    @classmethod
    def of(cls, conv: nn.Conv2d, *, bits: int = 4, block: int = 64) -> "DSConv2d":
        """An ordinary convolution, padded with zeros if at all, in this form."""
        if conv.padding_mode != "zeros":
            raise UsageError(f"DSConv2d pads with zeros, got a convolution with padding_mode={conv.padding_mode!r}")
        options: dict[str, Any] = {
            name: getattr(conv, name)
            for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        }
        like: Any = {"device": conv.weight.device, "dtype": conv.weight.dtype}
        new = cls(**options, bias=conv.bias is not None, bits=bits, block=block, **like)
        new.take(conv.weight)
        if new.bias is not None and conv.bias is not None:
            new.bias.data.copy_(conv.bias.detach())
        return new.requires_grad_(conv.weight.requires_grad).train(conv.training)

    @torch.no_grad()
    def take(self, weight: Tensor) -> None:
        """Become the nearest to this weight: the integers of each block from its largest weight, its scale by least squares."""
        grid = BlockGrid.of(weight.detach(), bits=self.bits, block=self.block)
        self.weight = grid.integers
        self.kernel_scale.copy_(grid.right_inverse(weight).view_as(self.kernel_scale))
        self.kernel_shift.zero_()
        self.channel_scale.fill_(1)
        self.channel_shift.zero_()

    def kernel(self) -> Tensor:
        """The weight that the inputs meet. Shape: [out_channels, in_channels / groups, kh, kw]."""
        inputs = self.weight.shape[1]
        filled = F.pad(self.weight.to(self.kernel_scale.dtype), (0, 0, 0, 0, 0, -inputs % self.block))
        blocks = filled.unflatten(1, (-1, self.block))  # [out, blocks, block, kh, kw]
        shifted = blocks * self.kernel_scale.unsqueeze(2) + self.kernel_shift.unsqueeze(2)
        return shifted.flatten(1, 2)[:, :inputs] * self.channel_scale + self.channel_shift

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, H', W']."""
        return F.conv2d(x, self.kernel(), self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{super().extra_repr()}, bits={self.bits}, block={self.block}"


def pair(value: Pair) -> tuple[int, int]:
    """One number for both sides, or both."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])
