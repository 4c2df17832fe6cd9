"""CondenseNet: a densely connected net that learns, while it trains, which earlier maps each group of filters needs.

    layer   y = [x; f(x)],   f = norm, ReLU, learned-group 1x1, shuffle, norm, ReLU, 3x3 in groups

The layers add k maps each, and k doubles from block to block: later maps tell more. Between the blocks there is nothing but a
2x2 mean. The 1x1 layers are dense at first and drop 1 - 1/C of their inputs during the first half of a training
(`danlu.nn.LearnedGroupConv2d`); what is published is the size of the net that is left, which the edit `condense` makes.

Source: Huang et al. 2017, https://arxiv.org/abs/1711.09224; the nets and their counts: the authors' code,
https://github.com/ShichenLiu/CondenseNet.
Differs: the facts are those of the net that trains, before it is condensed. The authors also drop half of the inputs of the
classifier when they convert a trained net; `condense` leaves the classifier as it is.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..nn import LearnedGroupConv2d
from ._init import initialised
from ._knobs import scaled
from ._registry import models

PAPER = "arxiv:1711.09224"
BOTTLENECK = 4  # maps of the 1x1 layer for each map of the 3x3 layer
DEPTHS = (50, 74, 86, 98, 110, 122)


class CondenseLayer(nn.Module):
    """A learned-group 1x1 and a grouped 3x3 convolution; what they compute comes beside the input.

    Shape: [B, in_channels, H, W] -> [B, in_channels + growth, H, W]
    """

    def __init__(self, in_channels: int, inner: int, growth: int, *, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = LearnedGroupConv2d(in_channels, inner, learned_groups=groups, condense=groups)
        self.shuffle = nn.ChannelShuffle(groups)
        self.norm2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, in_channels + growth, H, W]."""
        y = self.shuffle(self.conv1(self.relu1(self.norm1(x))))
        y = self.conv2(self.relu2(self.norm2(y)))
        return torch.cat([x, y], dim=1)


def condensenet(
    counts: tuple[int, ...], growths: tuple[int, ...], *, stride: int, groups: int, in_channels: int, num_classes: int,
    width: float,
) -> nn.Sequential:  # fmt: skip
    """A 3x3 stem, blocks of `counts` layers that add `growths` maps each, mean of each map, classifier."""
    channels = scaled(2 * growths[0], width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
    )
    for i, (count, published) in enumerate(zip(counts, growths, strict=True)):
        if i > 0:
            parts[f"pool{i}"] = nn.AvgPool2d(2, stride=2)
        growth, inner = scaled(published, width), scaled(BOTTLENECK * published, width)
        block = [CondenseLayer(channels + j * growth, inner, growth, groups=groups) for j in range(count)]
        parts[f"block{i + 1}"] = nn.Sequential(*block)
        channels += count * growth
    parts.update(
        norm=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(channels, num_classes),
    )
    return initialised(nn.Sequential(parts))


@models(input=(3, 224, 224), smallest=(3, 32, 32), params=11_922_680, macs=1_267_904_128, year=2017, paper=PAPER)
def condensenet74(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, groups: int = 4) -> nn.Sequential:
    """CondenseNet-74 for ImageNet: five blocks of 4, 6, 8, 10 and 8 layers that add 8 to 128 maps each.

    `groups` is also the condensation factor: with 4 (8) groups 1/4 (1/8) of the weights of the 1x1 layers are left in the end,
    and the net has 529 (274) million MACs.

    Raises: UsageError for groups other than 4 and 8.
    """
    if isinstance(groups, bool) or groups not in (4, 8):
        raise UsageError(f"condensenet74 is published with 4 and 8 groups; got groups={groups!r}")
    return condensenet(
        (4, 6, 8, 10, 8), (8, 16, 32, 64, 128), stride=2, groups=groups, in_channels=in_channels, num_classes=num_classes,
        width=width,
    )  # fmt: skip


@models(input=(3, 32, 32), smallest=(3, 16, 16), params=1_451_594, macs=173_858_624, year=2017, paper=PAPER)
def condensenet_cifar(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, depth: int = 86) -> nn.Sequential:
    """CondenseNet for CIFAR: three blocks of layers that add 8, 16 and 32 maps each, in four groups.

    `depth` is 50, 74, 86, 98, 110 or 122: the stem, two convolutions in each of (depth - 2) / 2 layers, the classifier.

    Raises: UsageError for another depth.
    """
    if isinstance(depth, bool) or depth not in DEPTHS:
        raise UsageError(f"condensenet_cifar is published with a depth of {', '.join(map(str, DEPTHS))}; got depth={depth!r}")
    count = (depth - 2) // 6
    return condensenet(
        (count,) * 3, (8, 16, 32), stride=1, groups=4, in_channels=in_channels, num_classes=num_classes, width=width
    )  # fmt: skip
