"""ResNet with deformable convolutions in its last blocks: there the kernels bend to the shape of what they see.

Source: Dai et al. 2017, Deformable convolutional networks, https://arxiv.org/abs/1703.06211: the three 3x3 convolutions of
the last stage; `modulated`: Zhu et al. 2018, https://arxiv.org/abs/1811.11168, which takes more of them.
Differs: the papers give trunks of detectors and segmenters, whose last stage has stride 1 and dilation 2; these are the
classifiers of `resnet.py` and `resnet_cifar.py` with their strides. Their parameters are those of the ResNet and of the
convolutions that predict offsets, 9 C x 18 + 18 each. The papers report no such classifier on small images.
"""

from torch import nn

from ..errors import UsageError
from ..nn import DeformableConv2d
from ._registry import models
from .resnet import BasicBlock, Bottleneck, resnet
from .resnet_cifar import resnet_cifar

PAPER = "arxiv:1703.06211"


def bend(net: nn.Sequential, last: int, *, modulated: bool) -> nn.Sequential:
    """Make the last 3x3 convolutions of a ResNet deformable, in place; they start as the convolutions they were.

    Raises: UsageError unless 1 <= last <= the number of 3x3 convolutions in its blocks.
    """
    # The 3x3 convolutions of a block, and those of a basic block in running order.
    places = [
        (block, name)
        for block in net.modules()
        if isinstance(block, BasicBlock | Bottleneck)
        for name in (("conv1", "conv2") if isinstance(block, BasicBlock) else ("conv2",))
    ]
    if isinstance(last, bool) or not 1 <= last <= len(places):
        raise UsageError(f"last is how many of the {len(places)} 3x3 convolutions, from the end, are deformable; got {last!r}")
    for block, name in places[-last:]:
        setattr(block, name, DeformableConv2d.like(getattr(block, name), modulated=modulated))
    return net


@models(input=(3, 224, 224), smallest=(3, 32, 32), params=25_805_918, macs=4_101_377_024, year=2017, paper=PAPER)
def deformable_resnet50(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, last: int = 3, modulated: bool = False
) -> nn.Sequential:
    """ResNet-50 whose `last` 3x3 convolutions are deformable: 3 are those of the last stage, 13 those of the last three."""
    net = resnet(Bottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)
    return bend(net, last, modulated=modulated)


@models(input=(3, 32, 32), smallest=(3, 8, 8), params=300_880, macs=42_541_696, year=2017, paper=PAPER)
def deformable_resnet20(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, last: int = 3, modulated: bool = False
) -> nn.Sequential:
    """ResNet-20 for small images whose `last` 3x3 convolutions are deformable."""
    net = resnet_cifar(3, in_channels=in_channels, num_classes=num_classes, width=width)
    return bend(net, last, modulated=modulated)
