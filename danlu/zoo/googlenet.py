"""GoogLeNet: inception blocks see a map at several scales at once, through 1x1, 3x3 and 5x5 filters and a pool.

    y = [conv1x1(x); conv3x3(conv1x1(x)); conv5x5(conv1x1(x)); conv1x1(pool(x))]       (channels concatenated)

`googlenet` has batch norm and tensors named as in torchvision; `googlenet_lrn` is the net of the paper, with local response
normalisation (LRN) behind the first pools, without batch norm.

Source: Szegedy et al. 2014, https://arxiv.org/abs/1409.4842; batch norm: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
Differs: `googlenet` has 3x3 filters in the place of 5x5, as torchvision's published weights have. LRN is torch's, whose sum is
that of Caffe: alpha / 5 for each of 5 channels.
"""

from collections import OrderedDict

from torch import nn

from ..nn import Concat, SideClassified
from ._inception import BasicConv2d
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

PAPER = "arxiv:1409.4842"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)

# Table 1 of the paper: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
Widths = tuple[int, int, int, int, int, int]
STAGES: tuple[tuple[tuple[str, Widths], ...], ...] = (
    (("3a", (64, 96, 128, 16, 32, 32)), ("3b", (128, 128, 192, 32, 96, 64))),
    (
        ("4a", (192, 96, 208, 16, 48, 64)),
        ("4b", (160, 112, 224, 24, 64, 64)),
        ("4c", (128, 128, 256, 24, 64, 64)),
        ("4d", (112, 144, 288, 32, 64, 64)),
        ("4e", (256, 160, 320, 32, 128, 128)),
    ),
    (("5a", (256, 160, 320, 32, 128, 128)), ("5b", (384, 192, 384, 48, 128, 128))),
)
AUX_AFTER = {"4a": "aux1", "4d": "aux2"}  # side classifiers read what these blocks give
AUX_WEIGHT = 0.3  # of their losses: the paper's


class Inception(Concat):
    """Four branches: 1x1; 1x1 then 3x3; 1x1 then `large` x `large`; pool then 1x1. `widths` are those of table 1.

    Shape: [B, in_channels, H, W] -> [B, widths[0] + widths[2] + widths[4] + widths[5], H, W]
    """

    def __init__(self, in_channels: int, widths: Widths, *, large: int, batch_norm: bool) -> None:
        super().__init__()
        point, reduce3, out3, reduce5, out5, pooled = widths
        self.branch1 = BasicConv2d(in_channels, point, 1, batch_norm=batch_norm)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, reduce3, 1, batch_norm=batch_norm), BasicConv2d(reduce3, out3, 3, batch_norm=batch_norm)
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, reduce5, 1, batch_norm=batch_norm), BasicConv2d(reduce5, out5, large, batch_norm=batch_norm)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), BasicConv2d(in_channels, pooled, 1, batch_norm=batch_norm)
        )


class Auxiliary(nn.Sequential):
    """A side classifier, which helps the gradient into a deep net while it trains: 4x4 mean, 1x1 convolution, two linear layers.

    Shape: [B, in_channels, H, W] -> [B, num_classes]
    """

    def __init__(self, in_channels: int, num_classes: int, *, width: float) -> None:
        super().__init__()
        hidden = scaled(1024, width)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = BasicConv2d(in_channels, scaled(128, width), 1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * scaled(128, width), hidden)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(hidden, num_classes)


def blocks(
    channels: int, width: float, *, large: int, batch_norm: bool, last_pool: int, aux: int = 0
) -> tuple[OrderedDict[str, nn.Module], int]:
    """The inception blocks of the three stages with the pools between them, by name; and the channels they end with.

    With `aux` classes, the side classifiers stand behind the blocks that they read.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i, stage in enumerate(STAGES):
        if i > 0:
            kernel = last_pool if i == 2 else 3
            parts[f"maxpool{i + 2}"] = nn.MaxPool2d(kernel, stride=2, ceil_mode=True)
        for name, published in stage:
            point, reduce3, out3, reduce5, out5, pooled = (scaled(value, width) for value in published)
            block = Inception(channels, (point, reduce3, out3, reduce5, out5, pooled), large=large, batch_norm=batch_norm)
            parts[f"inception{name}"] = block
            channels = point + out3 + out5 + pooled
            if aux and name in AUX_AFTER:
                parts[AUX_AFTER[name]] = Auxiliary(channels, aux, width=width)
    return parts, channels


def head(channels: int, num_classes: int, drop: float) -> OrderedDict[str, nn.Module]:
    """Mean of each map, dropout, classifier."""
    return OrderedDict(
        avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=dropout_layer(drop), fc=nn.Linear(channels, num_classes)
    )


@models(input=INPUT, smallest=SMALLEST, params=6_624_904, macs=1_498_376_192, year=2014, paper=PAPER)
def googlenet(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2, aux: bool = False
) -> nn.Sequential:
    """GoogLeNet with batch norm: nine inception blocks, torchvision's form.

    `aux` adds the two side classifiers, 13,004,888 parameters in all: torchvision's weight files have them. In training mode
    the net then gives the logits of all three [B, 3, K], its own last, for the paper's loss L + 0.3 (L_aux1 + L_aux2), which
    `fit` divides by 1.6; in eval mode its own alone [B, K].
    """
    stem, middle = scaled(64, width), scaled(192, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=BasicConv2d(in_channels, stem, 7, stride=2),
        maxpool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        conv2=BasicConv2d(stem, stem, 1),
        conv3=BasicConv2d(stem, middle, 3),
        maxpool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
    )
    inceptions, channels = blocks(
        middle, width, large=3, batch_norm=True, last_pool=2, aux=num_classes if aux else 0
    )  # fmt: skip
    parts.update(inceptions)
    parts.update(head(channels, num_classes, dropout))
    sides = dict.fromkeys(AUX_AFTER.values(), AUX_WEIGHT)
    return initialised(SideClassified(parts, sides) if aux else nn.Sequential(parts))


@models(input=INPUT, smallest=SMALLEST, params=6_998_552, macs=1_582_671_872, year=2014, paper=PAPER)
def googlenet_lrn(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.4) -> nn.Sequential:
    """GoogLeNet as published: 5x5 branches, local response normalisation, no batch norm."""
    stem, middle = scaled(64, width), scaled(192, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=BasicConv2d(in_channels, stem, 7, stride=2, batch_norm=False),
        maxpool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        norm1=nn.LocalResponseNorm(5),
        conv2=BasicConv2d(stem, stem, 1, batch_norm=False),
        conv3=BasicConv2d(stem, middle, 3, batch_norm=False),
        norm2=nn.LocalResponseNorm(5),
        maxpool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
    )
    inceptions, channels = blocks(middle, width, large=5, batch_norm=False, last_pool=3)
    parts.update(inceptions)
    parts.update(head(channels, num_classes, dropout))
    return initialised(nn.Sequential(parts))
