"""Nets of active convolutions: each 3x3 kernel learns the places it looks at, 18 numbers more a layer.

`active_plain` is the authors' plain net for CIFAR (7.33 % error on CIFAR-10 in the paper, 8.01 % with 3x3 kernels on the
grid), `active_resnet20` the ResNet of `resnet_cifar.py` with an active convolution for each one in its blocks.

Source: Jeon and Kim 2017, Active convolution, https://arxiv.org/abs/1703.09076, and the authors' description of the plain net,
https://github.com/jyh2986/Active-Convolution.
Differs: the residual nets of the paper have widths and depths of their own; this one is He et al.'s, so that it compares with
`resnet20`. Neither has published counts.
"""

from collections import OrderedDict

from torch import nn

from ..nn import ActiveConv2d
from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .resnet import BasicBlock
from .resnet_cifar import resnet_cifar

PAPER = "arxiv:1703.09076"
INPUT = (3, 32, 32)
SMALLEST = (3, 8, 8)


def active(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    """Active convolution that keeps the size at stride 1, batch norm, ReLU."""
    conv = ActiveConv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


@models(input=INPUT, smallest=SMALLEST, params=855_272, macs=104_359_696, year=2017, paper=PAPER)
def active_plain(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """The plain net of the paper: 1x1 to 16 channels, pairs of 3x3 with 48, 96 and 192, 1x1 to 1000, mean of each map."""
    c0, c1, c2, c3, hidden = (scaled(channels, width) for channels in (16, 48, 96, 192, 1000))
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        base=nn.Sequential(*active(in_channels, c0, 1)),
        stage1=nn.Sequential(*active(c0, c1, 3), *active(c1, c1, 3)),
        stage2=nn.Sequential(*active(c1, c2, 3, stride=2), *active(c2, c2, 3)),
        stage3=nn.Sequential(*active(c2, c3, 3, stride=2), *active(c3, c3, 3)),
        head=nn.Sequential(nn.Conv2d(c3, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(hidden, num_classes),
    )
    return initialised(nn.Sequential(parts))


@models(input=INPUT, smallest=SMALLEST, params=270_046, macs=40_551_040, year=2017, paper=PAPER)
def active_resnet20(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ResNet-20 for small images, each 3x3 convolution of its blocks an active one, which starts on the grid."""
    net = resnet_cifar(3, in_channels=in_channels, num_classes=num_classes, width=width)
    for block in net.modules():
        if isinstance(block, BasicBlock):
            for name in ("conv1", "conv2"):
                setattr(block, name, ActiveConv2d.like(getattr(block, name)))
    return net
