"""ResNeXt: a block is a sum of many small equal branches; how many (the cardinality) is a dimension beside depth and width.

    y = x + sum_c W3_c relu(W2_c relu(W1_c x))        as grouped convolution: 1x1, 3x3 in `cardinality` groups, 1x1

`resnext{layers}_{cardinality}x{channels of a group}d`. Tensors are named as in torchvision.

Source: Xie et al. 2016, Aggregated residual transformations for deep neural networks, https://arxiv.org/abs/1611.05431, form (c)
of figure 3.
"""

from collections import OrderedDict

from torch import nn

from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .resnet import Bottleneck, resnet, stage

PAPER = "arxiv:1611.05431"
CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


class Block32x4d(Bottleneck):
    """A bottleneck whose 3x3 layer has 32 groups, of 4 channels each in the first stage."""

    groups = 32
    group_width = 4


class Block32x8d(Bottleneck):
    """A bottleneck whose 3x3 layer has 32 groups, of 8 channels each in the first stage."""

    groups = 32
    group_width = 8


class Block8x64d(Bottleneck):
    """A bottleneck whose 3x3 layer has 8 groups, of 64 channels each in the first stage."""

    groups = 8
    group_width = 64


@models(input=IMAGENET, smallest=(3, 32, 32), params=25_028_904, macs=4_230_479_872, year=2016, paper=PAPER)
def resnext50_32x4d(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNeXt-50: the cost of ResNet-50, its 3x3 layers in 32 groups (22.2 % error on ImageNet in the paper)."""
    return resnet(Block32x4d, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=IMAGENET, smallest=(3, 32, 32), params=88_791_336, macs=16_414_015_488, year=2016, paper=PAPER)
def resnext101_32x8d(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNeXt-101 with 32 groups of 8 channels and more."""
    return resnet(Block32x8d, (3, 4, 23, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=CIFAR, smallest=(3, 8, 8), params=34_426_698, macs=5_387_266_048, year=2016, paper=PAPER)
def resnext29_8x64d(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNeXt-29 for small images: three blocks in each of three stages (3.65 % error on CIFAR-10 in the paper)."""
    channels = scaled(64, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
    )
    for i, published in enumerate((64, 128, 256)):
        inner = scaled(published, width)
        parts[f"layer{i + 1}"] = stage(Block8x64d, 3, channels, inner, stride=1 if i == 0 else 2)
        channels = inner * Block8x64d.expansion
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    return initialised(nn.Sequential(parts))
