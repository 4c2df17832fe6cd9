"""VGG: stacks of 3x3 convolutions between max pools, then three large linear layers. Tensors are named as in torchvision.

Source: Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556 (A: vgg11, B: vgg13, D: vgg16, E: vgg19).
Differs: the maps are averaged to 7x7 before the linear layers, so that any input from 32x32 on fits.
"""

from collections import OrderedDict

from torch import nn

from ._init import initialised
from ._knobs import dropout, scaled
from ._registry import models

PAPER = "arxiv:1409.1556"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)
Stages = tuple[tuple[int, ...], ...]
A: Stages = ((64,), (128,), (256, 256), (512, 512), (512, 512))
B: Stages = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))
D: Stages = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
E: Stages = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512))


def trunk(stages: Stages, *, in_channels: int, width: float, batch_norm: bool = False) -> nn.Sequential:
    """Stages of 3x3 convolutions of these published channels, each closed by a 2x2 max pool."""
    layers: list[nn.Module] = []
    for stage in stages:
        for published in stage:
            out = scaled(published, width)
            layers.append(nn.Conv2d(in_channels, out, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out))
            layers.append(nn.ReLU(inplace=True))
            in_channels = out
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def vgg(
    stages: Stages, *, in_channels: int, num_classes: int, width: float, drop: float, batch_norm: bool = False
) -> nn.Sequential:
    """The trunk, the maps averaged to 7x7, and three linear layers."""
    features = trunk(stages, in_channels=in_channels, width=width, batch_norm=batch_norm)
    hidden = scaled(4096, width)
    classifier = nn.Sequential(
        nn.Linear(scaled(stages[-1][-1], width) * 7 * 7, hidden),
        nn.ReLU(inplace=True),
        dropout(drop),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        dropout(drop),
        nn.Linear(hidden, num_classes),
    )
    parts = OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(7), flatten=nn.Flatten(), classifier=classifier)
    return initialised(nn.Sequential(parts))


@models(input=INPUT, smallest=SMALLEST, params=132_863_336, macs=7_609_090_048, year=2014, paper=PAPER)
def vgg11(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """VGG-11: eight convolutions and three linear layers (configuration A)."""
    return vgg(A, in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout)


@models(input=INPUT, smallest=SMALLEST, params=132_868_840, macs=7_609_090_048, year=2014, paper=PAPER)
def vgg11_bn(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """VGG-11 with batch norm after every convolution."""
    return vgg(A, in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout, batch_norm=True)


@models(input=INPUT, smallest=SMALLEST, params=133_047_848, macs=11_308_466_176, year=2014, paper=PAPER)
def vgg13(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """VGG-13: ten convolutions, two a stage (configuration B)."""
    return vgg(B, in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout)


@models(input=INPUT, smallest=SMALLEST, params=133_053_736, macs=11_308_466_176, year=2014, paper=PAPER)
def vgg13_bn(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """VGG-13 with batch norm after every convolution."""
    return vgg(B, in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout, batch_norm=True)


@models(input=INPUT, smallest=SMALLEST, params=138_357_544, macs=15_470_264_320, year=2014, paper=PAPER)
def vgg16(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """VGG-16: thirteen convolutions and three linear layers (configuration D)."""
    return vgg(D, in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout)


@models(input=INPUT, smallest=SMALLEST, params=138_365_992, macs=15_470_264_320, year=2014, paper=PAPER)
def vgg16_bn(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """VGG-16 with batch norm after every convolution, which lets it train from scratch."""
    return vgg(D, in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout, batch_norm=True)


@models(input=INPUT, smallest=SMALLEST, params=143_667_240, macs=19_632_062_464, year=2014, paper=PAPER)
def vgg19(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """VGG-19: sixteen convolutions, four in each of the last three stages (configuration E)."""
    return vgg(E, in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout)


@models(input=INPUT, smallest=SMALLEST, params=143_678_248, macs=19_632_062_464, year=2014, paper=PAPER)
def vgg19_bn(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """VGG-19 with batch norm after every convolution."""
    return vgg(E, in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout, batch_norm=True)
