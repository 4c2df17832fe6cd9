"""SK-ResNet: a 3x3 convolution of each block becomes a selective kernel, two convolutions of different reach between which each
image chooses, channel by channel.

Source: Li et al. 2019, Selective Kernel Networks, https://arxiv.org/abs/1903.06586. `skresnext50_32x4d` is the paper's SKNet-50
(27.5 M parameters, 4.47 G MACs); `skresnet18` and `skresnet50` are timm's: each branch sees half of the channels, so that they
cost no more than a plain ResNet.
"""

import math

from torch import Tensor, nn

from ..nn import SelectiveKernel
from ._registry import models
from .resnet import resnet

PAPER = "arxiv:1903.06586"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)


class SKBasicBlock(nn.Module):
    """A selective kernel, a 3x3 convolution, and a shortcut.

    Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.sk = SelectiveKernel(in_channels, channels, stride=stride, reduction=8, least=16, split=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.bn2(self.conv2(self.sk(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(y + shortcut)


class SKBottleneck(nn.Module):
    """1x1 to `inner` channels, a selective kernel, 1x1 to four times `channels`, and a shortcut.

    Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        sk = self.selective_kernel(channels, stride)
        inner = sk.in_channels
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU(inplace=True)
        self.sk = sk
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample
        self.relu3 = nn.ReLU(inplace=True)

    def selective_kernel(self, channels: int, stride: int) -> SelectiveKernel:
        """Each branch sees half of the channels."""
        return SelectiveKernel(channels, channels, stride=stride, least=8, split=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.sk(self.relu1(self.bn1(self.conv1(x))))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(y + shortcut)


class SKNeXtBottleneck(SKBottleneck):
    """The block of SKNet: twice the inner channels, in 32 groups, all of which both branches see."""

    def selective_kernel(self, channels: int, stride: int) -> SelectiveKernel:
        """Narrow nets have fewer groups where 32 do not divide their channels."""
        return SelectiveKernel(2 * channels, 2 * channels, stride=stride, groups=math.gcd(32, 2 * channels), least=32)


@models(input=INPUT, smallest=SMALLEST, params=11_958_056, macs=1_814_337_536, year=2019, paper=PAPER)
def skresnet18(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """SK-ResNet-18: two basic blocks in each of four stages."""
    return resnet(SKBasicBlock, (2, 2, 2, 2), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=25_803_160, macs=4_089_422_336, year=2019, paper=PAPER)
def skresnet50(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """SK-ResNet-50: 3, 4, 6 and 3 bottlenecks."""
    return resnet(SKBottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=27_479_784, macs=4_462_710_784, year=2019, paper=PAPER)
def skresnext50_32x4d(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """SKNet-50: bottlenecks with selective kernels of 32 groups."""
    return resnet(SKNeXtBottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)
