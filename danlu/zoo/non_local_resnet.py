"""Non-local ResNet: five blocks in which every pixel sees the whole map, behind every other block of the two middle stages of a
ResNet-50. Each starts as the identity, so the weights of a plain ResNet may be loaded first.

Source: Wang et al. 2017, Non-local neural networks, https://arxiv.org/abs/1711.07971, section 4.1 (5 blocks).
Differs: a net for images, where the paper's is for video: maps in the place of volumes.
"""

from collections import OrderedDict

from torch import nn

from ..nn import NonLocal2d
from ._knobs import scaled
from ._registry import models
from .resnet import Bottleneck, resnet

PAPER = "arxiv:1711.07971"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)


def with_non_local(stage: nn.Module, channels: int, kind: str, subsample: bool) -> nn.Sequential:
    """`stage` with a non-local block behind its second, fourth, ... block; the blocks keep their names."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i, block in enumerate(stage.children()):
        parts[str(i)] = block
        if i % 2 == 1:
            parts[f"non_local{i}"] = NonLocal2d(channels, kind=kind, subsample=subsample)
    return nn.Sequential(parts)


@models(input=INPUT, smallest=SMALLEST, params=32_915_496, macs=6_331_248_640, year=2017, paper=PAPER)
def non_local_resnet50(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, kind: str = "embedded", subsample: bool = True
) -> nn.Sequential:
    """ResNet-50 with five non-local blocks; `kind` is how two pixels are compared: embedded, gaussian, dot or concat."""
    net = resnet(Bottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)
    for name, published in (("layer2", 128), ("layer3", 256)):
        channels = scaled(published, width) * Bottleneck.expansion
        setattr(net, name, with_non_local(net.get_submodule(name), channels, kind, subsample))
    return net
