"""ZFNet: AlexNet after its authors looked at what the layers see; 7x7 filters at stride 2 in the place of 11x11 at stride 4.

The smaller first filters keep the middle frequencies that AlexNet's leave out, the smaller stride avoids their aliasing.

Source: Zeiler and Fergus 2013, Visualizing and understanding convolutional networks, https://arxiv.org/abs/1311.2901, figure 3.
Differs: the contrast normalisation across maps, which the paper does not specify, is AlexNet's LRN; the maps are averaged to 6x6
before the linear layers, so that other inputs fit.
"""

from collections import OrderedDict

from torch import nn

from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models
from .alexnet import GRID, head, response_norm


@models(input=(3, 224, 224), smallest=(3, 64, 64), params=62_357_608, macs=1_168_032_896, year=2013, paper="arxiv:1311.2901")
def zfnet(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """ZFNet: 96, 256, 384, 384 and 256 filters; the pools round their maps up, 110 -> 55 -> 26 -> 13 -> 6."""
    c1, c2, c3, c4, c5 = (scaled(channels, width) for channels in (96, 256, 384, 384, 256))
    features = nn.Sequential(
        nn.Conv2d(in_channels, c1, 7, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        response_norm(),
        nn.Conv2d(c1, c2, 5, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        response_norm(),
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
        fc6, nn.ReLU(inplace=True), dropout_layer(dropout), fc7, nn.ReLU(inplace=True), dropout_layer(dropout), fc8
    )  # fmt: skip
    parts = OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(GRID), flatten=nn.Flatten(), classifier=classifier)
    return initialised(nn.Sequential(parts))
