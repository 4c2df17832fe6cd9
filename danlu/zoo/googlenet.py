"""GoogLeNet: inception blocks see a map at several scales at once, through 1x1, 3x3 and 5x5 filters and a pool.

    y = [conv1x1(x); conv3x3(conv1x1(x)); conv5x5(conv1x1(x)); conv1x1(pool(x))]       (channels concatenated)

`googlenet` has batch norm and tensors named as in torchvision; `googlenet_lrn` is the net of the paper, with local response
normalisation (LRN) behind the first pools, without batch norm.

Source: Szegedy et al. 2014, https://arxiv.org/abs/1409.4842; batch norm: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
Differs: `googlenet` has 3x3 filters in the place of 5x5, as torchvision's published weights have. LRN is torch's, whose sum is
that of Caffe: alpha / 5 for each of 5 channels.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ..nn import Concat
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

PAPER = "arxiv:1409.4842"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)
EPS = 1e-3  # of the batch norms, as in the authors' code
AUX = ("aux1", "aux2")

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
AUX_AFTER = {"4a": "aux1", "4d": "aux2"}


class BasicConv2d(nn.Sequential):
    """Convolution that keeps the size at stride 1, batch norm, ReLU; without batch norm, convolution with bias and ReLU.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, batch_norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=not batch_norm)
        if batch_norm:
            self.bn = nn.BatchNorm2d(out_channels, eps=EPS)
        self.relu = nn.ReLU(inplace=True)


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


class GoogLeNet(nn.Sequential):
    """The trunk in order, with two side classifiers beside it, which a call leaves out.

    Shape: [B, C, H, W] -> [B, num_classes]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Logits of the last classifier alone. Shape: [B, C, H, W] -> [B, num_classes]."""
        for name, layer in self.named_children():
            if name not in AUX:
                input = layer(input)
        return input

    def with_auxiliary(self, input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the last, first and second classifier; the paper trains on loss + 0.3 (aux1 loss + aux2 loss).

        Shape: [B, C, H, W] -> three of [B, num_classes]
        """
        side: dict[str, Tensor] = {}
        for name, layer in self.named_children():
            if name in AUX:
                continue
            input = layer(input)
            if (aux := AUX_AFTER.get(name.removeprefix("inception"))) is not None:
                side[aux] = self.get_submodule(aux)(input)
        return input, side["aux1"], side["aux2"]


def blocks(
    channels: int, width: float, *, large: int, batch_norm: bool, last_pool: int
) -> tuple[OrderedDict[str, nn.Module], int]:
    """The inception blocks of the three stages with the pools between them, by name; and the channels they end with."""
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

    `aux` adds the two side classifiers, 13,004,888 parameters in all: torchvision's weight files have them. A call gives the
    last classifier's logits all the same; `with_auxiliary` gives all three.
    """
    stem, middle = scaled(64, width), scaled(192, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=BasicConv2d(in_channels, stem, 7, stride=2),
        maxpool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        conv2=BasicConv2d(stem, stem, 1),
        conv3=BasicConv2d(stem, middle, 3),
        maxpool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
    )
    inceptions, channels = blocks(middle, width, large=3, batch_norm=True, last_pool=2)
    parts.update(inceptions)
    if aux:
        for name, side in AUX_AFTER.items():
            following = {"4a": "inception4b", "4d": "inception4e"}[name]
            into = next(layer for layer in parts[following].modules() if isinstance(layer, nn.Conv2d)).in_channels
            parts[side] = Auxiliary(into, num_classes, width=width)
    parts.update(head(channels, num_classes, dropout))
    return initialised(GoogLeNet(parts) if aux else nn.Sequential(parts))


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
