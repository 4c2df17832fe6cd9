"""AlexNet: five convolutions with ReLU, overlapping max pools, dropout; the net that began the deep years.

    local response normalisation (LRN)    y_c = x_c / (2 + 1e-4 sum of x_j^2 over the 5 channels around c) ^ 0.75

`alexnet_groups` is the net of the paper: two groups of filters, one for each of its two GPUs, and LRN behind the first two
layers. `alexnet` is its later one-tower form, without LRN, with tensors named as in torchvision.

Source: Krizhevsky, Sutskever and Hinton 2012, ImageNet classification..., https://doi.org/10.1145/3065386; one tower:
Krizhevsky 2014, https://arxiv.org/abs/1404.5997.
Differs: the maps are averaged to 6x6 before the linear layers, so that other inputs fit. `alexnet_groups` is counted at 227x227:
the paper says 224, but its 55x55 maps come of 227.
"""

from collections import OrderedDict

from torch import nn

from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

SMALLEST = (3, 64, 64)
GRID = 6  # side of the maps that the linear layers see
LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K = 5, 1e-4, 0.75, 2.0


def response_norm() -> nn.LocalResponseNorm:
    """The paper's LRN. torch divides alpha by the number of channels it sums, the paper does not."""
    return nn.LocalResponseNorm(LRN_SIZE, alpha=LRN_SIZE * LRN_ALPHA, beta=LRN_BETA, k=LRN_K)


def head(channels: int, num_classes: int, *, width: float) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """The three linear layers on maps of GRID x GRID."""
    hidden = scaled(4096, width)
    return nn.Linear(channels * GRID * GRID, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, num_classes)


@models(input=(3, 224, 224), smallest=SMALLEST, params=61_100_840, macs=714_188_480, year=2014, paper="arxiv:1404.5997")
def alexnet(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """AlexNet in one tower: 64, 192, 384, 256 and 256 filters, torchvision's form."""
    c1, c2, c3, c4, c5 = (scaled(channels, width) for channels in (64, 192, 384, 256, 256))
    features = nn.Sequential(
        nn.Conv2d(in_channels, c1, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(c1, c2, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(c2, c3, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(c3, c4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(c4, c5, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
    )
    fc6, fc7, fc8 = head(c5, num_classes, width=width)
    classifier = nn.Sequential(
        dropout_layer(dropout), fc6, nn.ReLU(inplace=True), dropout_layer(dropout), fc7, nn.ReLU(inplace=True), fc8
    )  # fmt: skip
    parts = OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(GRID), flatten=nn.Flatten(), classifier=classifier)
    return initialised(nn.Sequential(parts))


@models(input=(3, 227, 227), smallest=(3, 67, 67), params=60_965_224, macs=724_406_816, year=2012, paper="doi:10.1145/3065386")
def alexnet_groups(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """AlexNet as published: 96, 256, 384, 384 and 256 filters, half of them blind to the other half, and LRN."""
    c1, c2, c3, c4, c5 = (scaled(channels, width) for channels in (96, 256, 384, 384, 256))
    features = nn.Sequential(
        nn.Conv2d(in_channels, c1, 11, stride=4),
        nn.ReLU(inplace=True),
        response_norm(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(c1, c2, 5, padding=2, groups=2),
        nn.ReLU(inplace=True),
        response_norm(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(c2, c3, 3, padding=1),  # the only one of these that sees both GPUs
        nn.ReLU(inplace=True),
        nn.Conv2d(c3, c4, 3, padding=1, groups=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(c4, c5, 3, padding=1, groups=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
    )
    fc6, fc7, fc8 = head(c5, num_classes, width=width)
    classifier = nn.Sequential(
        fc6, nn.ReLU(inplace=True), dropout_layer(dropout), fc7, nn.ReLU(inplace=True), dropout_layer(dropout), fc8
    )  # fmt: skip
    parts = OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(GRID), flatten=nn.Flatten(), classifier=classifier)
    return initialised(nn.Sequential(parts))
