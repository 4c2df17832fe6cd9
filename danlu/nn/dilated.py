"""Dilated convolution: a filter with holes sees further at the same cost; several side by side see several scales.

    y[i] = sum_u w[u] x[i + d u]        a k x k filter with dilation d spans d (k - 1) + 1 pixels with k^2 weights

Source: Yu and Koltun 2015, https://arxiv.org/abs/1511.07122; branches of several rates (atrous spatial pyramid, ASPP): Chen et
al. 2016, https://arxiv.org/abs/1606.00915.
Differs: the branches are concatenated, as in the later DeepLab v3 (https://arxiv.org/abs/1706.05587), and not summed.
"""

from collections.abc import Sequence

from torch import nn

from ..errors import UsageError
from ._registry import layers
from ._sides import sides
from .concat import Concat


@layers(paper="arxiv:1511.07122")
class DilatedConv2d(nn.Conv2d):
    """nn.Conv2d with an odd kernel, whose padding keeps the size of the map at any dilation.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]

    Raises: UsageError for an even kernel, which has no padding that keeps the size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        dilation: int | tuple[int, int] = 2,
        stride: int | tuple[int, int] = 1,
        bias: bool = True,
    ) -> None:
        kernel, apart = sides(kernel_size), sides(dilation)
        if any(side % 2 == 0 for side in kernel):
            raise UsageError(f"DilatedConv2d takes an odd kernel, got {kernel_size}")
        reach = (apart[0] * (kernel[0] - 1) // 2, apart[1] * (kernel[1] - 1) // 2)
        super().__init__(in_channels, out_channels, kernel, stride, reach, apart, bias=bias)


@layers(paper="arxiv:1606.00915")
class AtrousPyramid(Concat):
    """A 3x3 convolution for each of `rates`, its dilation, side by side: the map seen at several scales.

    Shape: [B, in_channels, H, W] -> [B, len(rates) * out_channels, H, W]
    """

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int] = (6, 12, 18, 24), *, bias: bool = True) -> None:
        super().__init__(*(DilatedConv2d(in_channels, out_channels, dilation=rate, bias=bias) for rate in rates))
        self.in_channels, self.out_channels, self.rates, self.bias = in_channels, out_channels, tuple(rates), bias

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.in_channels}, {self.out_channels}, rates={list(self.rates)}"
