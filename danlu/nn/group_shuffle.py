"""A convolution in groups, then the channels shuffled, so that every group of the next layer hears from every group of this one.

    shuffle   y[j g + i] = x[i C/g + j],   i < g groups, j < C/g        (write row by row, read column by column)
    weights   k^2 C_in C_out / g           instead of   k^2 C_in C_out

Source: Zhang et al. 2017, ShuffleNet, https://arxiv.org/abs/1707.01083, section 3.1.
"""

from typing import Literal

import torch
from torch import nn

from ..errors import UsageError
from ._registry import layers

Pair = int | tuple[int, int]


@layers(paper="arxiv:1707.01083")
class GroupShuffle(nn.Sequential):
    """A grouped convolution `conv` and the `shuffle` of its outputs, which has no weights.

    The arguments are those of nn.Conv2d. Norm and activation may follow: they work channel by channel, so it does not matter
    on which side of them the channels are shuffled.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W'], H' and W' as nn.Conv2d gives

    Raises: UsageError when the groups do not divide both channel counts.
    """

    conv: nn.Conv2d
    shuffle: nn.ChannelShuffle

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        *,
        groups: int,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise UsageError(f"GroupShuffle: {groups} groups do not divide {in_channels} inputs and {out_channels} outputs")
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups,
            bias=bias, padding_mode=padding_mode, device=device, dtype=dtype,
        )  # fmt: skip
        self.shuffle = nn.ChannelShuffle(groups)
