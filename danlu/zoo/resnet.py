"""ResNet for ImageNet: blocks learn what to add to their input. Tensors are named as in torchvision.

Source: He et al. 2015, https://arxiv.org/abs/1512.03385, option B (1x1 convolutions where the shape changes).
Differs: the stride of a bottleneck sits on its 3x3 layer, not on its first 1x1 layer, as in torchvision.
"""

from collections import OrderedDict
from typing import Protocol

from torch import Tensor, nn

from ..nn import ProjectionShortcut
from ._init import initialised
from ._knobs import scaled
from ._registry import models

PAPER = "arxiv:1512.03385"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: y = relu(shortcut(x) + f(x)).

    `downsample` is the shortcut where the shape changes; None is the identity.

    Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu2(y + shortcut)


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many, and a shortcut.

    The 3x3 layer has `channels` channels here; in ResNeXt and the wide ResNets its `groups` have `group_width` channels each
    for every 64 of them.

    Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]
    """

    expansion = 4
    groups = 1
    group_width = 64

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        inner = max(1, channels * self.group_width // 64) * self.groups
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=self.groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample
        self.relu3 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(y + shortcut)


class Block(Protocol):
    """What a stage is made of: `expansion` times as many channels come out as it is named by."""

    expansion: int

    def __call__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> nn.Module:
        """A block with its shortcut."""


def stage(block: Block, count: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """`count` blocks; the first has the stride, and a 1x1 convolution as shortcut where the shape changes."""
    out_channels = channels * block.expansion
    changes = stride != 1 or in_channels != out_channels
    downsample = ProjectionShortcut(in_channels, out_channels, stride=stride) if changes else None
    first = block(in_channels, channels, stride=stride, downsample=downsample)
    return nn.Sequential(first, *(block(out_channels, channels) for _ in range(count - 1)))


def resnet(block: Block, counts: tuple[int, int, int, int], *, in_channels: int, num_classes: int, width: float) -> nn.Sequential:
    """Stem, four stages of `counts` blocks with 64, 128, 256 and 512 published channels, mean of each map, classifier."""
    channels = scaled(64, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    for i, (published, count) in enumerate(zip((64, 128, 256, 512), counts, strict=True)):
        inner = scaled(published, width)
        parts[f"layer{i + 1}"] = stage(block, count, channels, inner, stride=1 if i == 0 else 2)
        channels = inner * block.expansion
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    return initialised(nn.Sequential(parts))


@models(input=INPUT, smallest=SMALLEST, params=11_689_512, macs=1_814_073_344, year=2015, paper=PAPER)
def resnet18(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-18: two basic blocks in each of four stages."""
    return resnet(BasicBlock, (2, 2, 2, 2), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=21_797_672, macs=3_663_761_408, year=2015, paper=PAPER)
def resnet34(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-34: 3, 4, 6 and 3 basic blocks."""
    return resnet(BasicBlock, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=25_557_032, macs=4_089_184_256, year=2015, paper=PAPER)
def resnet50(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-50: 3, 4, 6 and 3 bottleneck blocks."""
    return resnet(Bottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=44_549_160, macs=7_801_405_440, year=2015, paper=PAPER)
def resnet101(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-101: 3, 4, 23 and 3 bottleneck blocks."""
    return resnet(Bottleneck, (3, 4, 23, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=60_192_808, macs=11_513_626_624, year=2015, paper=PAPER)
def resnet152(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-152: 3, 8, 36 and 3 bottleneck blocks, the net that won ILSVRC 2015."""
    return resnet(Bottleneck, (3, 8, 36, 3), in_channels=in_channels, num_classes=num_classes, width=width)
