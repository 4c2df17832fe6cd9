"""ShuffleNet v1: the 1x1 convolutions work in groups too, and a channel shuffle between them lets the groups talk.

    y = relu(x + f(x))                  at stride 1
    y = relu([meanpool(x); f(x)])       at stride 2
    f = 1x1 in groups, batch norm, ReLU, shuffle, 3x3 depthwise, batch norm, 1x1 in groups, batch norm

More groups make a 1x1 layer cheaper, so a net of the same cost has more channels: 576 at its end with one group, 1536 with eight.

Source: Zhang et al. 2017, https://arxiv.org/abs/1707.01083, table 1.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ._init import initialised
from ._knobs import scaled
from ._registry import models

STEM = 24
CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # of the first stage by groups; each further stage has twice as many
COUNTS = (4, 8, 4)  # units of each stage


class ShuffleUnit(nn.Module):
    """A bottleneck of a quarter of the channels between two grouped 1x1 convolutions, and a shortcut.

    At stride 2 the shortcut is a mean pool, and its channels come beside those computed instead of being added to them.
    `dense` makes the first 1x1 convolution one group: behind the stem there are too few channels to split.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, out_channels: int, *, groups: int, stride: int = 1, dense: bool = False) -> None:
        super().__init__()
        inner = out_channels // 4
        computed = out_channels - in_channels if stride == 2 else out_channels
        self.conv1 = nn.Conv2d(in_channels, inner, 1, groups=1 if dense else groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU(inplace=True)
        self.shuffle = nn.ChannelShuffle(groups)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, computed, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(computed)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.shuffle(self.relu1(self.bn1(self.conv1(x))))
        y = self.bn3(self.conv3(self.bn2(self.conv2(y))))
        y = x + y if self.pool is None else torch.cat([self.pool(x), y], dim=1)
        return self.relu2(y)


def in_groups(published: int, width: float, divisor: int) -> int:
    """`published` channels times `width`, to the nearest multiple of `divisor`, which divides the published number."""
    if scaled(published, width) == published:
        return published
    return max(divisor, divisor * math.floor(published * width / divisor + 0.5))


@models(
    input=(3, 224, 224), smallest=(3, 32, 32), params=1_865_728, macs=137_460_672, year=2017, paper="arxiv:1707.01083"
)  # fmt: skip
def shufflenet_v1(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, groups: int = 3) -> nn.Sequential:
    """ShuffleNet v1: grouped 1x1 convolutions and channel shuffles.

    `groups` are 1, 2, 3, 4 or 8; the channels are those that table 1 gives to each, for about 140 million MACs. The channels
    at another `width` are the multiples of the groups nearest to its share of them.

    Raises: UsageError for another number of groups.
    """
    if isinstance(groups, bool) or groups not in CHANNELS:
        raise UsageError(f"shufflenet_v1 is published with 1, 2, 3, 4 and 8 groups; got groups={groups!r}")
    channels = in_groups(STEM, width, groups)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu1=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    for i, count in enumerate(COUNTS):
        out_channels = in_groups(2**i * CHANNELS[groups], width, 4 * groups)
        first = ShuffleUnit(channels, out_channels, groups=groups, stride=2, dense=i == 0)
        others = (ShuffleUnit(out_channels, out_channels, groups=groups) for _ in range(count - 1))
        parts[f"stage{i + 2}"] = nn.Sequential(first, *others)
        channels = out_channels
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    return initialised(nn.Sequential(parts))
