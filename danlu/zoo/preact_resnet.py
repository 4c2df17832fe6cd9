"""Pre-activation ResNet: norm and ReLU move in front of the convolutions, so that the shortcuts are clean identities from the
first unit to the last, and a net of a thousand layers trains.

    x_{l+1} = x_l + W2 relu(BN(W1 relu(BN(x_l))))

Where the shape changes, the shortcut is a 1x1 convolution of relu(BN(x_l)).

Source: He et al. 2016, Identity mappings in deep residual networks, https://arxiv.org/abs/1603.05027: 110 layers
(6.37 % error on CIFAR-10), 164 (5.46 %) and 1001 (4.62 %).
Differs: the paper has no net of 18 or 50 layers; these are ResNet-18 and -50 with its units, as timm's resnetv2 nets.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ._init import initialised
from ._knobs import scaled
from ._registry import models

PAPER = "arxiv:1603.05027"
CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


class PreactBasic(nn.Module):
    """Two 3x3 convolutions, each behind batch norm and ReLU, and a shortcut.

    Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        changes = stride != 1 or in_channels != channels
        self.shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]."""
        normed = self.relu1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(normed)
        y = self.relu2(self.bn2(self.conv1(normed)))
        return self.conv2(y) + shortcut


class PreactBottleneck(nn.Module):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many, each behind batch norm and ReLU, and a shortcut.

    Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]."""
        normed = self.relu1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(normed)
        y = self.relu2(self.bn2(self.conv1(normed)))
        y = self.relu3(self.bn3(self.conv2(y)))
        return self.conv3(y) + shortcut


Stem = OrderedDict[str, nn.Module]
Unit = type[PreactBasic | PreactBottleneck]


def preact_resnet(
    stem: Stem, unit: Unit, stages: tuple[tuple[int, int], ...], *, channels: int, num_classes: int, width: float
) -> nn.Sequential:
    """A stem that gives `channels`, stages of (units, published channels), norm and ReLU, mean of each map, classifier."""
    parts = OrderedDict(stem)
    for i, (count, published) in enumerate(stages):
        inner = scaled(published, width)
        out = inner * unit.expansion
        first = unit(channels, inner, stride=1 if i == 0 else 2)
        parts[f"layer{i + 1}"] = nn.Sequential(first, *(unit(out, inner) for _ in range(count - 1)))
        channels = out
    parts.update(bn=nn.BatchNorm2d(channels), relu=nn.ReLU(inplace=True))
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    return initialised(nn.Sequential(parts))


def for_imagenet(
    unit: Unit, counts: tuple[int, int, int, int], *, in_channels: int, num_classes: int, width: float
) -> nn.Sequential:
    """7x7 convolution and pool, four stages of 64 to 512 published channels."""
    channels = scaled(64, width)
    stem: Stem = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    stages = tuple(zip(counts, (64, 128, 256, 512), strict=True))
    return preact_resnet(stem, unit, stages, channels=channels, num_classes=num_classes, width=width)


def for_cifar(unit: Unit, count: int, *, in_channels: int, num_classes: int, width: float) -> nn.Sequential:
    """3x3 convolution, three stages of `count` units with 16, 32 and 64 published channels."""
    channels = scaled(16, width)
    stem: Stem = OrderedDict(conv1=nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))
    stages = tuple((count, published) for published in (16, 32, 64))
    return preact_resnet(stem, unit, stages, channels=channels, num_classes=num_classes, width=width)


@models(input=IMAGENET, smallest=(3, 32, 32), params=11_687_720, macs=1_814_073_344, year=2016, paper=PAPER)
def preact_resnet18(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-18 with pre-activation: two basic units in each of four stages."""
    return for_imagenet(PreactBasic, (2, 2, 2, 2), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=IMAGENET, smallest=(3, 32, 32), params=25_549_352, macs=4_089_184_256, year=2016, paper=PAPER)
def preact_resnet50(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-50 with pre-activation: 3, 4, 6 and 3 bottleneck units."""
    return for_imagenet(PreactBottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=CIFAR, smallest=(3, 8, 8), params=272_282, macs=40_813_184, year=2016, paper=PAPER)
def preact_resnet20(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Pre-activation ResNet-20 for small images: three basic units in each of three stages."""
    return for_cifar(PreactBasic, 3, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=CIFAR, smallest=(3, 8, 8), params=1_730_522, macs=253_149_824, year=2016, paper=PAPER)
def preact_resnet110(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Pre-activation ResNet-110 for small images: 18 basic units in each of three stages."""
    return for_cifar(PreactBasic, 18, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=CIFAR, smallest=(3, 8, 8), params=1_703_258, macs=247_646_720, year=2016, paper=PAPER)
def preact_resnet164(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Pre-activation ResNet-164 for small images: 18 bottleneck units in each of three stages."""
    return for_cifar(PreactBottleneck, 18, in_channels=in_channels, num_classes=num_classes, width=width)
