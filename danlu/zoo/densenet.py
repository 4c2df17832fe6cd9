"""DenseNet: every layer of a stage reads the maps of all layers before it, and adds only a few of its own (the growth rate).

    x_l = [x_0; f_1(x_0); ...; f_l(x_{l-1})],   f = conv3x3(relu(bn(conv1x1(relu(bn(x))))))

A transition between two stages halves the map. The ImageNet nets, and the CIFAR nets with "bc" in their name, have the 1x1
bottleneck in each layer and keep half of the channels at a transition. Tensors are named as in torchvision.

Source: Huang et al. 2016, https://arxiv.org/abs/1608.06993 (table 1; CIFAR: section 4.2 and table 2).
Differs: the paper gives 0.8 M parameters for densenet_bc100_12, one digit; the sum is 769,162 with 10 classes.
"""

from collections import OrderedDict

from torch import nn

from ..errors import UsageError
from ..nn import DenseConnection
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

PAPER = "arxiv:1608.06993"
INPUT = (3, 224, 224)
CIFAR = (3, 32, 32)
SMALLEST = (3, 32, 32)
BOTTLENECK = 4  # channels of a bottleneck for each channel of growth


class DenseLayer(DenseConnection):
    """BN-ReLU-conv3x3 with `growth` filters, behind a BN-ReLU-conv1x1 with four times as many; the result joins the input.

    Shape: [B, in_channels, H, W] -> [B, in_channels + growth, H, W]
    """

    def __init__(self, in_channels: int, growth: int, *, bottleneck: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        if bottleneck:
            inner = BOTTLENECK * growth
            self.norm1 = nn.BatchNorm2d(in_channels)
            self.relu1 = nn.ReLU(inplace=True)
            self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(inner)
            self.relu2 = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)
        else:
            self.norm = nn.BatchNorm2d(in_channels)
            self.relu = nn.ReLU(inplace=True)
            self.conv = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)
        drop = dropout_layer(dropout)
        if dropout:
            self.dropout = drop


class Transition(nn.Sequential):
    """Between two stages: BN-ReLU-conv1x1 to fewer channels, then the mean of each 2x2 pixels.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H / 2, W / 2]
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)


def densenet(
    stem: OrderedDict[str, nn.Module],
    counts: tuple[int, ...],
    growth: int,
    *,
    channels: int,
    num_classes: int,
    bottleneck: bool = True,
    compression: float = 0.5,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Stem that ends in `channels`, stages of `counts` dense layers with transitions between them, BN-ReLU, mean, classifier."""
    features = OrderedDict(stem)
    for i, count in enumerate(counts, 1):
        stage: OrderedDict[str, nn.Module] = OrderedDict()
        for j in range(1, count + 1):
            stage[f"denselayer{j}"] = DenseLayer(channels, growth, bottleneck=bottleneck, dropout=dropout)
            channels += growth
        features[f"denseblock{i}"] = nn.Sequential(stage)
        if i < len(counts):
            kept = int(channels * compression)
            features[f"transition{i}"] = Transition(channels, kept)
            channels = kept
    features[f"norm{len(counts) + 1}"] = nn.BatchNorm2d(channels)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        features=nn.Sequential(features),
        relu=nn.ReLU(inplace=True),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(channels, num_classes),
    )
    return initialised(nn.Sequential(parts))


def checked(growth: int) -> int:
    """`growth`; UsageError unless it is at least 1."""
    if isinstance(growth, bool) or not isinstance(growth, int) or growth < 1:
        raise UsageError(f"growth is the number of maps that each layer adds, at least 1; got {growth!r}")
    return growth


def imagenet(
    counts: tuple[int, ...], growth: int, published: int, *, in_channels: int, num_classes: int, width: float
) -> nn.Sequential:
    """A net for 224x224: 7x7 convolution of stride 2 with `published` filters, max pool, four stages."""
    channels = scaled(published, width)
    stem: OrderedDict[str, nn.Module] = OrderedDict(
        conv0=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
        norm0=nn.BatchNorm2d(channels),
        relu0=nn.ReLU(inplace=True),
        pool0=nn.MaxPool2d(3, stride=2, padding=1),
    )
    return densenet(stem, counts, scaled(checked(growth), width), channels=channels, num_classes=num_classes)


@models(input=INPUT, smallest=SMALLEST, params=7_978_856, macs=2_834_161_664, year=2016, paper=PAPER)
def densenet121(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, growth: int = 32) -> nn.Sequential:
    """DenseNet-121: 6, 12, 24 and 16 dense layers, each adding 32 maps."""
    return imagenet((6, 12, 24, 16), growth, 64, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=28_681_000, macs=7_727_907_072, year=2016, paper=PAPER)
def densenet161(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, growth: int = 48) -> nn.Sequential:
    """DenseNet-161: 6, 12, 36 and 24 dense layers, each adding 48 maps."""
    return imagenet((6, 12, 36, 24), growth, 96, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=14_149_480, macs=3_359_843_328, year=2016, paper=PAPER)
def densenet169(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, growth: int = 32) -> nn.Sequential:
    """DenseNet-169: 6, 12, 32 and 32 dense layers, each adding 32 maps."""
    return imagenet((6, 12, 32, 32), growth, 64, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=20_013_928, macs=4_291_365_888, year=2016, paper=PAPER)
def densenet201(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, growth: int = 32) -> nn.Sequential:
    """DenseNet-201: 6, 12, 48 and 32 dense layers, each adding 32 maps."""
    return imagenet((6, 12, 48, 32), growth, 64, in_channels=in_channels, num_classes=num_classes, width=width)


def cifar(
    count: int, growth: int, *, bc: bool, in_channels: int, num_classes: int, width: float, dropout: float
) -> nn.Sequential:
    """A net for 32x32: a 3x3 convolution with 16 filters (twice the growth rate with `bc`), three stages of `count` layers.

    A growth of 12 is not a multiple of 8, so width scales it to the nearest whole number.
    """
    scaled(16, width)  # says what is wrong with a width
    grown = max(1, round(checked(growth) * width))
    channels = 2 * grown if bc else scaled(16, width)
    stem: OrderedDict[str, nn.Module] = OrderedDict(conv0=nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))
    return densenet(
        stem, (count,) * 3, grown, channels=channels, num_classes=num_classes,
        bottleneck=bc, compression=0.5 if bc else 1.0, dropout=dropout,
    )  # fmt: skip


@models(input=CIFAR, smallest=SMALLEST, params=1_019_722, macs=264_812_928, year=2016, paper=PAPER)
def densenet40_12(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, growth: int = 12, dropout: float = 0.0
) -> nn.Sequential:
    """DenseNet of 40 layers for CIFAR: three stages of 12 plain layers, each adding 12 maps.

    The paper trains with `dropout` 0.2 where the images are not augmented.
    """
    return cifar(12, growth, bc=False, in_channels=in_channels, num_classes=num_classes, width=width, dropout=dropout)


@models(input=CIFAR, smallest=SMALLEST, params=769_162, macs=287_929_692, year=2016, paper=PAPER)
def densenet_bc100_12(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, growth: int = 12, dropout: float = 0.0
) -> nn.Sequential:
    """DenseNet-BC of 100 layers for CIFAR: three stages of 16 layers with bottleneck, and transitions that halve the channels.

    The paper trains with `dropout` 0.2 where the images are not augmented.
    """
    return cifar(16, growth, bc=True, in_channels=in_channels, num_classes=num_classes, width=width, dropout=dropout)
