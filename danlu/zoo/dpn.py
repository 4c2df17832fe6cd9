"""Dual path networks: blocks of which some channels are residual and some dense. They reuse features, and add new ones.

    y = [s[:r] + f[:r]; s[r:]; f[r:]]        s: shortcut, f = conv1x1(grouped conv3x3(conv1x1(x))), r: residual channels

The sum keeps r channels through a stage; each block appends some more, whose number is the growth of the stage.

Source: Chen et al. 2017, https://arxiv.org/abs/1707.01629, table 1; dpn68: the authors' release, https://github.com/cypw/DPNs.
Differs: all classify from the mean of the last map (the authors also test with its maximum). `width` scales the number of
groups, so that a group keeps its channels.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ..nn import DualPath
from ._init import initialised
from ._knobs import scaled
from ._registry import models

PAPER = "arxiv:1707.01629"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)
EPS = 1e-3  # of the batch norms, as in the authors' code


class PreConv(nn.Sequential):
    """Batch norm, ReLU, then a convolution that keeps the size at stride 1.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels, eps=EPS)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )  # fmt: skip


class DualPathBlock(nn.Module):
    """1x1, grouped 3x3, 1x1, joined with a shortcut: `residual` channels are summed, `growth` channels appended.

    The first block of a stage projects its shortcut to residual + 2 growth channels; the others pass their input on.

    Shape: [B, in_channels, H, W] -> [B, C + growth, ceil(H / stride), ceil(W / stride)],
    C = in_channels, or residual + 2 growth in the first block of a stage
    """

    def __init__(
        self, in_channels: int, inner: int, residual: int, growth: int, *, groups: int, stride: int = 1, first: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = PreConv(in_channels, inner, 1)
        self.conv2 = PreConv(inner, inner, 3, stride=stride, groups=groups)
        self.conv3 = PreConv(inner, residual + growth, 1)
        self.shortcut = PreConv(in_channels, residual + 2 * growth, 1, stride=stride) if first else nn.Identity()
        self.join = DualPath(residual)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, C + growth, ceil(H / stride), ceil(W / stride)]."""
        return self.join(self.shortcut(x), self.conv3(self.conv2(self.conv1(x))))


def dpn(
    stem: tuple[int, int],
    counts: tuple[int, int, int, int],
    growths: tuple[int, int, int, int],
    *,
    inner: int,
    residual: int,
    groups: int,
    in_channels: int,
    num_classes: int,
    width: float,
) -> nn.Sequential:
    """Stem of (filters, kernel) with stride 2, max pool, four stages, BN-ReLU, mean of each map, classifier.

    `inner` and `residual` are the channels of the first stage; each stage has twice as many as the one before.
    """
    channels = scaled(stem[0], width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, stem[1], stride=2, padding=stem[1] // 2, bias=False),
        bn1=nn.BatchNorm2d(channels, eps=EPS),
        relu1=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    cardinality = max(1, round(groups * width))
    for i, (count, published) in enumerate(zip(counts, growths, strict=True)):
        growth, summed = scaled(published, width), scaled(residual * 2**i, width)
        grouped = inner * 2**i // groups * cardinality
        blocks = []
        for j in range(count):
            first = j == 0
            stride = 2 if first and i > 0 else 1
            blocks.append(DualPathBlock(channels, grouped, summed, growth, groups=cardinality, stride=stride, first=first))
            channels = summed + 3 * growth if first else channels + growth
        parts[f"stage{i + 1}"] = nn.Sequential(*blocks)
    parts.update(
        bn2=nn.BatchNorm2d(channels, eps=EPS),
        relu2=nn.ReLU(inplace=True),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(channels, num_classes),
    )
    return initialised(nn.Sequential(parts))


@models(input=INPUT, smallest=SMALLEST, params=12_611_602, macs=2_326_163_456, year=2017, paper=PAPER)
def dpn68(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """DPN-68: a slim stem, and residual channels of a quarter of those of the larger nets."""
    return dpn(
        (10, 3), (3, 4, 12, 3), (16, 32, 32, 64), inner=128, residual=64, groups=32,
        in_channels=in_channels, num_classes=num_classes, width=width,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=37_668_392, macs=6_501_684_224, year=2017, paper=PAPER)
def dpn92(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """DPN-92: 3, 4, 20 and 3 blocks with 32 groups."""
    return dpn(
        (64, 7), (3, 4, 20, 3), (16, 32, 24, 128), inner=96, residual=256, groups=32,
        in_channels=in_channels, num_classes=num_classes, width=width,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=61_570_728, macs=11_671_217_152, year=2017, paper=PAPER)
def dpn98(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """DPN-98: 3, 6, 20 and 3 blocks with 40 groups."""
    return dpn(
        (96, 7), (3, 6, 20, 3), (16, 32, 32, 128), inner=160, residual=256, groups=40,
        in_channels=in_channels, num_classes=num_classes, width=width,
    )  # fmt: skip
