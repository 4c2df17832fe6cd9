"""Deformable convolution: the kernel looks where the picture tells it to, at offsets that a small convolution predicts.

    y(p) = sum_k w_k x(s p + p_k + offset_k(p)) m_k(p)        p_k: the places of the plain kernel, m_k = 1 without modulation

x at a fractional place is the bilinear mean of its four neighbours, zero outside the map. The offsets start at 0, where the
layer is the plain convolution.

Source: Dai et al. 2017, Deformable convolutional networks, https://arxiv.org/abs/1703.06211; modulation: Zhu et al. 2018,
Deformable ConvNets v2, https://arxiv.org/abs/1811.11168.
Differs: one set of offsets for all channels. The modulation is 2 sigmoid(z), so that it starts at 1 where the paper's starts
at 1/2. The samples are written out and mixed by a 1x1 convolution: no kernel of its own is needed, and ONNX knows its parts.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ._registry import layers
from ._sides import sides


def places(like: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The row and the column of each pixel of a map. Shape: [1, 1, height, width] each, of the dtype of `like`."""
    ones = like.new_ones(1, 1, height, width)  # counted up: torch.fx can follow methods of a tensor, but no torch.arange
    return ones.cumsum(2) - 1, ones.cumsum(3) - 1


def sampled(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """`x` at fractional places, by bilinear interpolation with zeros around it.

    Shape: x [B, C, H, W], rows and columns [B, K, H', W'] -> [B, C * K, H', W'], the K samples of a channel together.
    """
    # grid_sample counts from -1 to 1 over the map, from the outer edges of its first and last pixels.
    across, down = (2 * columns + 1) / x.shape[3] - 1, (2 * rows + 1) / x.shape[2] - 1
    grid = torch.stack([across, down], dim=-1)  # [B, K, H', W', 2]
    points = F.grid_sample(x, grid.flatten(1, 2), mode="bilinear", padding_mode="zeros", align_corners=False)
    return points.reshape(-1, x.shape[1] * rows.shape[1], rows.shape[2], rows.shape[3])


@torch.no_grad()
def copy_kernel(conv: nn.Conv2d, mix: nn.Conv2d) -> None:
    """Give the weights of a plain convolution, and its bias, to the 1x1 convolution over its samples."""
    mix.weight.copy_(conv.weight.reshape(mix.weight.shape)).requires_grad_(conv.weight.requires_grad)
    if conv.bias is not None and mix.bias is not None:
        mix.bias.copy_(conv.bias).requires_grad_(conv.bias.requires_grad)


@layers(paper="arxiv:1703.06211")
class DeformableConv2d(nn.Module):
    """A convolution whose kernel bends at each pixel.

    `offset`, a plain convolution that starts at zero, predicts (row, column) for each of the K places of the kernel, and with
    `modulated` K strengths behind them; `mix`, a 1x1 convolution over K samples of each channel, holds the kernel: its
    weight is that of the plain convolution, [out, in / groups, height, width], seen as [out, in / groups * K, 1, 1].

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
        modulated: bool = False,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, groups, *sides(kernel_size)) < 1 or in_channels % groups or out_channels % groups:
            got = f"{in_channels} -> {out_channels} channels in {groups} groups, kernel {kernel_size}"
            raise UsageError(f"DeformableConv2d has counts of at least 1, and groups that divide its channels; got {got}")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.padding, self.dilation, self.groups = padding, dilation, groups
        self.bias, self.modulated = bias, modulated
        self.points = math.prod(sides(kernel_size))
        self.offset = nn.Conv2d(
            in_channels, (3 if modulated else 2) * self.points, kernel_size, stride=stride, padding=padding, dilation=dilation
        )
        self._stride = sides(stride)
        self.mix = nn.Conv2d(in_channels * self.points, out_channels, 1, groups=groups, bias=bias)
        self.straighten()

    @property
    def stride(self) -> tuple[int, ...]:
        """That of the convolution that predicts the offsets, which makes the map that the output has."""
        offset: nn.Module = self.offset
        return offset.stride if isinstance(offset, nn.Conv2d) else self._stride  # an edit may have put other layers there

    @stride.setter
    def stride(self, stride: int | tuple[int, ...]) -> None:
        self._stride = sides(stride)
        offset: nn.Module = self.offset
        if isinstance(offset, nn.Conv2d):
            offset.stride = sides(stride)

    def straighten(self) -> None:
        """Set the offsets to zero and the strengths to one: the plain convolution."""
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)

    @classmethod
    def like(cls, conv: nn.Conv2d, *, modulated: bool = False) -> "DeformableConv2d":
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
            modulated=modulated,
        ).to(conv.weight)
        copy_kernel(conv, new.mix)
        return new

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, H', W']."""
        moves = self.offset(x)  # [B, 2 K or 3 K, H', W']: row and column of each point in turn, then the strengths
        rows, columns = places(moves, moves.shape[2], moves.shape[3])
        (step_down, step_across), (above, left) = sides(self.stride), sides(self.padding)
        down, across = self._kernel(moves)
        rows = rows * step_down - above + down + moves[:, 0 : 2 * self.points : 2]
        columns = columns * step_across - left + across + moves[:, 1 : 2 * self.points : 2]
        points = sampled(x, rows, columns)
        if self.modulated:
            strength = 2 * moves[:, 2 * self.points :].sigmoid()
            points = (points.unflatten(1, (-1, self.points)) * strength.unsqueeze(1)).flatten(1, 2)
        return self.mix(points)

    def _kernel(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of each place of the plain kernel, from its upper left. Shape: [1, K, 1, 1] each."""
        (height, width), (down, across) = sides(self.kernel_size), sides(self.dilation)
        rows, columns = places(like, height, width)
        return rows.reshape(1, -1, 1, 1) * down, columns.reshape(1, -1, 1, 1) * across

    def extra_repr(self) -> str:
        """Its arguments."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        given = (("padding", 0), ("dilation", 1), ("groups", 1), ("bias", True), ("modulated", False))
        rest = [f"{name}={getattr(self, name)}" for name, usual in given if getattr(self, name) != usual]
        return ", ".join([text, *rest])
