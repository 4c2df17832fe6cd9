"""Big-little ResNet: all the blocks of a stage but the last see maps of half the size, beside a thin branch at full size.

    stage:  y = fusion(relu(up(big(x)) + little(x)))
    big     count - 1 blocks, the first at stride 2
    little  max(1, count // beta - 1) blocks of channels / alpha, then 1x1 to the channels
    fusion  the last block of the stage, with the stage's stride behind the sum

`alpha` thins the little branch, `beta` shortens it. The stem is such a pair as well, in the place of the max pool, and the
last stage is that of a ResNet.

Source: Chen et al. 2018, Big-little net, https://arxiv.org/abs/1807.03848, table 1 for alpha = 2, beta = 4 and its figure of
the net; strides and shortcuts as in the authors' code.
Differs: the batch norm before each sum starts at scale 1, not 0 (that belongs to the training recipe).
"""

from collections import OrderedDict

from torch import nn

from ..errors import UsageError
from ..nn import BigLittle
from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .resnet import Bottleneck

PAPER = "arxiv:1807.03848"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)
EXPANSION = Bottleneck.expansion


def bottleneck(in_channels: int, out_channels: int, *, stride: int = 1, last_relu: bool = True) -> Bottleneck:
    """A bottleneck whose shortcut pools where the map shrinks, then mixes by 1x1 where the channels change."""
    steps: list[nn.Module] = []
    if stride != 1:
        steps.append(nn.AvgPool2d(3, stride=stride, padding=1))
    if in_channels != out_channels:
        steps += [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]
    shortcut = nn.Sequential(*steps) if steps else None
    block = Bottleneck(in_channels, out_channels // EXPANSION, stride=stride, downsample=shortcut)
    if not last_relu:  # the sum of the two branches is rectified instead
        block.add_module("relu3", nn.Identity())
    return block


def blocks(count: int, in_channels: int, out_channels: int, *, stride: int = 1, last_relu: bool = True) -> nn.Sequential:
    """`count` bottlenecks; the first has the stride."""
    made = [
        bottleneck(
            in_channels if i == 0 else out_channels,
            out_channels,
            stride=stride if i == 0 else 1,
            last_relu=last_relu or i + 1 < count,
        )
        for i in range(count)
    ]
    return nn.Sequential(*made)


def stage(count: int, in_channels: int, out_channels: int, *, alpha: int, beta: int, stride: int) -> nn.Sequential:
    """Big and little branch, ReLU of their sum, and the block that fuses them."""
    thin = max(EXPANSION, out_channels // alpha)
    # A little branch of one block keeps its ReLU, as the authors' does.
    little = blocks(max(1, count // beta - 1), in_channels, thin)
    little.append(nn.Conv2d(thin, out_channels, 1, bias=False)).append(nn.BatchNorm2d(out_channels))
    big = blocks(count - 1, in_channels, out_channels, stride=2, last_relu=False)
    return nn.Sequential(
        OrderedDict(
            branches=BigLittle(OrderedDict(big=big, little=little)),
            relu=nn.ReLU(inplace=True),
            fusion=bottleneck(out_channels, out_channels, stride=stride),
        )
    )


def stem(in_channels: int, channels: int, alpha: int) -> OrderedDict[str, nn.Module]:
    """7x7 at stride 2, a big and a little branch at stride 2, and 1x1 over their sum."""
    thin = max(1, channels // alpha)

    def conv(into: int, out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(into, out, kernel, stride=stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(out)]

    def relu() -> nn.Module:
        return nn.ReLU(inplace=True)

    big = nn.Sequential(*conv(channels, channels, 3, 2))
    little = nn.Sequential(
        *conv(channels, thin, 3), relu(), *conv(thin, thin, 3, 2), relu(), *conv(thin, channels, 1)
    )  # fmt: skip
    return OrderedDict(
        start=nn.Sequential(*conv(in_channels, channels, 7, 2), relu()),
        branches=BigLittle(OrderedDict(big=big, little=little)),
        relu=relu(),
        mix=nn.Sequential(*conv(channels, channels, 1), relu()),
    )


def big_little_resnet(
    counts: tuple[int, int, int, int], *, in_channels: int, num_classes: int, width: float, alpha: int, beta: int
) -> nn.Sequential:
    """Stem, three big-little stages, a plain one, mean of each map, classifier.

    Raises: UsageError when alpha or beta is below 1.
    """
    if min(alpha, beta) < 1:
        raise UsageError(f"alpha and beta divide the width and the depth of the little branch; got alpha={alpha}, beta={beta}")
    channels = scaled(64, width)
    parts = stem(in_channels, channels, alpha)
    for i, (published, count, stride) in enumerate(zip((64, 128, 256, 512), counts, (2, 2, 1, 2), strict=True)):
        out_channels = EXPANSION * scaled(published, width)
        if i < 3:
            made = stage(count, channels, out_channels, alpha=alpha, beta=beta, stride=stride)
        else:
            made = blocks(count, channels, out_channels, stride=stride)
        parts[f"layer{i + 1}"] = made
        channels = out_channels
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    return initialised(nn.Sequential(parts))


@models(input=INPUT, smallest=SMALLEST, params=26_694_568, macs=2_856_058_880, year=2018, paper=PAPER)
def big_little_resnet50(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, alpha: int = 2, beta: int = 4
) -> nn.Sequential:
    """bL-ResNet-50: a third fewer MACs than ResNet-50, and 22.69 % top-1 error on ImageNet in the paper against 23.66 %."""
    return big_little_resnet((3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width, alpha=alpha, beta=beta)


@models(input=INPUT, smallest=SMALLEST, params=41_851_560, macs=3_893_297_152, year=2018, paper=PAPER)
def big_little_resnet101(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, alpha: int = 2, beta: int = 4
) -> nn.Sequential:
    """bL-ResNet-101: stages of 4, 8, 18 and 3 blocks, more of them early than ResNet-101 has."""
    return big_little_resnet((4, 8, 18, 3), in_channels=in_channels, num_classes=num_classes, width=width, alpha=alpha, beta=beta)
