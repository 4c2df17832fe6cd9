"""Active convolution: the places that a kernel looks at are learned, one fractional shape for the whole map.

    y(p) = sum_k w_k x(s p + position_k)

x at a fractional place is the bilinear mean of its four neighbours, zero outside the map. Where a deformable convolution
predicts offsets for each pixel, this one has 2 K numbers in all.

Source: Jeon and Kim 2017, Active convolution: learning the shape of convolution for image classification,
https://arxiv.org/abs/1703.09076.
Differs: the gradient of a position is used as it is, where the paper divides it by its length and holds the positions still
for the first 10,000 steps: that belongs to the training. The derivative at whole positions is the one to the right and below.
"""

import math

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._registry import layers
from ._sides import sides
from .deformable import copy_kernel, places, sampled


@layers(paper="arxiv:1703.09076")
class ActiveConv2d(nn.Module):
    """A convolution whose kernel has a learned shape.

    `position` [K, 2] holds the (row, column) of each of the K = height x width places of the kernel from its centre, in
    pixels; it starts at those of the plain convolution. `mix`, a 1x1 convolution over K samples of each channel, holds the
    weights: [out, in / groups, height, width] seen as [out, in / groups * K, 1, 1].

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W'], H' and W' those of the plain convolution.

    Raises: UsageError for counts below 1, or channels that the groups do not divide.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        counts = (in_channels, out_channels, groups, *sides(stride), *sides(kernel_size))
        if min(counts) < 1 or in_channels % groups or out_channels % groups:
            got = f"{in_channels} -> {out_channels} channels in {groups} groups, kernel {kernel_size}, stride {stride}"
            raise UsageError(f"ActiveConv2d has counts of at least 1, and groups that divide its channels; got {got}")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation, self.groups, self.bias = stride, padding, dilation, groups, bias
        self.points = math.prod(sides(kernel_size))
        self.position = nn.Parameter(torch.empty(self.points, 2))
        self.mix = nn.Conv2d(in_channels * self.points, out_channels, 1, groups=groups, bias=bias)
        self.straighten()

    def straighten(self) -> None:
        """Put the positions on the grid of the plain convolution."""
        (height, width), (down, across) = sides(self.kernel_size), sides(self.dilation)
        grid = [((i - (height - 1) / 2) * down, (j - (width - 1) / 2) * across) for i in range(height) for j in range(width)]
        with torch.no_grad():
            self.position.copy_(torch.tensor(grid))

    @classmethod
    def like(cls, conv: nn.Conv2d) -> "ActiveConv2d":
        """One with the sizes and the weights of a plain convolution with zero padding, and what that gives."""
        new = cls(
            conv.in_channels,
            conv.out_channels,
            sides(conv.kernel_size),
            stride=sides(conv.stride),
            padding=sides(conv.padding),  # type: ignore[arg-type]  # a word ("same") is for the caller to refuse
            dilation=sides(conv.dilation),
            groups=conv.groups,
            bias=conv.bias is not None,
        ).to(conv.weight)
        copy_kernel(conv, new.mix)
        return new

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, H', W']."""
        (height, width), (above, left), (down, across) = sides(self.kernel_size), sides(self.padding), sides(self.dilation)
        step_down, step_across = sides(self.stride)
        reach_down, reach_across = (height - 1) * down, (width - 1) * across
        rows, columns = places(
            x,
            (x.shape[2] + 2 * above - reach_down - 1) // step_down + 1,
            (x.shape[3] + 2 * left - reach_across - 1) // step_across + 1,
        )
        # The centre of the kernel over each pixel of the output, then its places around that.
        rows = rows * step_down - above + reach_down / 2 + self.position[:, 0].reshape(1, -1, 1, 1)
        columns = columns * step_across - left + reach_across / 2 + self.position[:, 1].reshape(1, -1, 1, 1)
        everywhere = (x.shape[0], -1, -1, -1)  # the same shape for every image
        return self.mix(sampled(x, rows.expand(everywhere), columns.expand(everywhere)))

    def extra_repr(self) -> str:
        """Its arguments."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        given = (("padding", 0), ("dilation", 1), ("groups", 1), ("bias", True))
        rest = [f"{name}={getattr(self, name)}" for name, usual in given if getattr(self, name) != usual]
        return ", ".join([text, *rest])
