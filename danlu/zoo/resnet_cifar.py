"""ResNet for small images: three stages of basic blocks at full, half and quarter resolution, shortcuts without weights.

    layers = 6 n + 2        n blocks a stage, 16, 32 and 64 channels

Source: He et al. 2015, section 4.2, option A, https://arxiv.org/abs/1512.03385 (20, 32, 44, 56 and 110 layers).
Differs: 8 and 14 layers are the same rule at n = 1 and 2, which the paper does not report.
"""

from collections import OrderedDict

from torch import nn

from ..nn import PadShortcut
from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .resnet import PAPER, BasicBlock

INPUT = (3, 32, 32)
SMALLEST = (3, 8, 8)


def stage(blocks: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """`blocks` basic blocks; the first has the stride, and a padding shortcut where the shape changes."""
    changes = stride != 1 or in_channels != channels
    shortcut = PadShortcut(in_channels, channels, stride=stride) if changes else None
    first = BasicBlock(in_channels, channels, stride=stride, downsample=shortcut)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))


def resnet_cifar(blocks: int, *, in_channels: int, num_classes: int, width: float) -> nn.Sequential:
    """`blocks` basic blocks a stage: 6 * blocks + 2 layers."""
    c1, c2, c3 = (scaled(channels, width) for channels in (16, 32, 64))
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, c1, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(c1),
        relu=nn.ReLU(inplace=True),
        layer1=stage(blocks, c1, c1, stride=1),
        layer2=stage(blocks, c1, c2, stride=2),
        layer3=stage(blocks, c2, c3, stride=2),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(c3, num_classes),
    )
    return initialised(nn.Sequential(parts))


@models(input=INPUT, smallest=SMALLEST, params=75_290, macs=12_239_488, year=2015, paper=PAPER)
def resnet8(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNet-8 for small images: one block in each of three stages."""
    return resnet_cifar(1, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=172_506, macs=26_395_264, year=2015, paper=PAPER)
def resnet14(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNet-14 for small images: two blocks a stage."""
    return resnet_cifar(2, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=269_722, macs=40_551_040, year=2015, paper=PAPER)
def resnet20(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNet-20 for small images: three blocks a stage (8.75 % error on CIFAR-10 in the paper)."""
    return resnet_cifar(3, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=464_154, macs=68_862_592, year=2015, paper=PAPER)
def resnet32(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNet-32 for small images: five blocks a stage (7.51 % error on CIFAR-10 in the paper)."""
    return resnet_cifar(5, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=658_586, macs=97_174_144, year=2015, paper=PAPER)
def resnet44(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNet-44 for small images: seven blocks a stage (7.17 % error on CIFAR-10 in the paper)."""
    return resnet_cifar(7, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=853_018, macs=125_485_696, year=2015, paper=PAPER)
def resnet56(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNet-56 for small images: nine blocks a stage (6.97 % error on CIFAR-10 in the paper)."""
    return resnet_cifar(9, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=1_727_962, macs=252_887_680, year=2015, paper=PAPER)
def resnet110(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNet-110 for small images: 18 blocks a stage (6.43 % error on CIFAR-10 in the paper)."""
    return resnet_cifar(18, in_channels=in_channels, num_classes=num_classes, width=width)
