"""Wide residual networks: few layers with many channels learn as well as a thousand thin layers, and run faster.

    wide_resnet{d}_{k}: d = 6 n + 4 layers, n units a stage, 16 k, 32 k and 64 k channels

A unit is conv3x3(drop(relu(BN(conv3x3(relu(BN(x))))))) + x. The ImageNet form doubles the 3x3 layers of the bottlenecks of
ResNet-50 and ResNet-101; its tensors are named as in torchvision.

Source: Zagoruyko and Komodakis 2016, Wide residual networks, https://arxiv.org/abs/1605.07146 (4.27 % error on CIFAR-10 for 16-8,
4.00 % for 28-10).
"""

from collections import OrderedDict

from torch import Tensor, nn

from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models
from .resnet import Bottleneck, resnet

PAPER = "arxiv:1605.07146"
CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


class WideUnit(nn.Module):
    """Batch norm and ReLU in front of each of two 3x3 convolutions, dropout between them, and a shortcut.

    Where the shape changes, the shortcut is a 1x1 convolution of the normed input.

    Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.dropout = dropout_layer(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        changes = stride != 1 or in_channels != channels
        self.shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]."""
        normed = self.relu1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(normed)
        y = self.dropout(self.relu2(self.bn2(self.conv1(normed))))
        return self.conv2(y) + shortcut


class WideBottleneck(Bottleneck):
    """A bottleneck whose 3x3 layer is twice as wide."""

    group_width = 128


def wide_resnet(
    units: int, widen: int, *, in_channels: int, num_classes: int, width: float, dropout: float
) -> nn.Sequential:  # fmt: skip
    """Stem of 16 channels, three stages of `units` units, batch norm, mean of each map, classifier."""
    channels = scaled(16, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))
    for i, published in enumerate((16, 32, 64)):
        out = scaled(published * widen, width)
        first = WideUnit(channels, out, stride=1 if i == 0 else 2, dropout=dropout)
        rest = (WideUnit(out, out, dropout=dropout) for _ in range(units - 1))
        parts[f"layer{i + 1}"] = nn.Sequential(first, *rest)
        channels = out
    parts.update(bn=nn.BatchNorm2d(channels), relu=nn.ReLU(inplace=True))
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    return initialised(nn.Sequential(parts))


@models(input=CIFAR, smallest=(3, 8, 8), params=10_961_370, macs=1_548_145_664, year=2016, paper=PAPER)
def wide_resnet16_8(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, dropout: float = 0.0
) -> nn.Sequential:  # fmt: skip
    """WRN-16-8 for small images: two units a stage, 128, 256 and 512 channels."""
    return wide_resnet(2, 8, in_channels=in_channels, num_classes=num_classes, width=width, dropout=dropout)


@models(input=CIFAR, smallest=(3, 8, 8), params=36_479_194, macs=5_243_328_768, year=2016, paper=PAPER)
def wide_resnet28_10(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, dropout: float = 0.0
) -> nn.Sequential:  # fmt: skip
    """WRN-28-10 for small images: four units a stage, 160, 320 and 640 channels."""
    return wide_resnet(4, 10, in_channels=in_channels, num_classes=num_classes, width=width, dropout=dropout)


@models(input=IMAGENET, smallest=(3, 32, 32), params=68_883_240, macs=11_398_021_120, year=2016, paper=PAPER)
def wide_resnet50_2(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-50 with 3x3 layers twice as wide."""
    return resnet(WideBottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=IMAGENET, smallest=(3, 32, 32), params=126_886_696, macs=22_753_050_624, year=2016, paper=PAPER)
def wide_resnet101_2(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-101 with 3x3 layers twice as wide."""
    return resnet(WideBottleneck, (3, 4, 23, 3), in_channels=in_channels, num_classes=num_classes, width=width)
