"""A convolution as three of one dimension: across the channels, down the columns, along the rows.

    y[o, i, j] = sum_x h[o, x] sum_y v[o, y] sum_c l[o, c] x[c, i + y, j + x]

    weights: C_out (C_in + k + k)        instead of        C_out C_in k^2

Each of its filters is a product l v h, of rank one; nothing stands between the three, so that a filter is all they are.

Source: Jin, Dundar and Culurciello 2014, https://arxiv.org/abs/1412.5474.
"""

from typing import Literal

from torch import nn

from ._registry import layers
from ._sides import sides

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


@layers(paper="arxiv:1412.5474")
class FlattenedConv2d(nn.Sequential):
    """Lateral 1x1, vertical kernel x 1 and horizontal 1 x kernel for each channel, with a bias behind each, as published.

    Takes the arguments of nn.Conv2d but `groups`; stride, padding and dilation go to the vertical and the horizontal step, so
    the output has the size that nn.Conv2d gives.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W'], H' = floor((H + 2 padding - dilation (k - 1) - 1) / stride) + 1
    """

    lateral: nn.Conv2d
    vertical: nn.Conv2d
    horizontal: nn.Conv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.bias = in_channels, out_channels, bias
        self.kernel_size, self.stride, self.padding = sides(kernel_size), sides(stride), sides(padding)
        self.dilation, self.padding_mode = sides(dilation), padding_mode
        self.lateral = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        self.vertical = self._along(0)
        self.horizontal = self._along(1)

    def _along(self, axis: int) -> nn.Conv2d:
        """A filter for each channel along one axis."""

        def only(values: tuple[int, int], other: int) -> tuple[int, int]:
            return (values[0], other) if axis == 0 else (other, values[1])

        kernel, stride = only(self.kernel_size, 1), only(self.stride, 1)
        padding, dilation = only(self.padding, 0), only(self.dilation, 1)
        width = self.out_channels
        return nn.Conv2d(
            width, width, kernel, stride, padding, dilation, groups=width, bias=self.bias, padding_mode=self.padding_mode
        )

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
