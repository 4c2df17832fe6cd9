"""SqueezeNet: fire modules squeeze with 1x1, then expand with 1x1 and 3x3 side by side. Tensors are named as in torchvision.

Source: Iandola et al. 2016, https://arxiv.org/abs/1602.07360; the channels of 1.1 are those of the authors' release.
Differs: the bias of the classifier starts at 1.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ._init import initialised
from ._knobs import dropout, scaled
from ._registry import models

PAPER = "arxiv:1602.07360"


class Fire(nn.Module):
    """Squeeze to few channels, expand by two kernels, concatenate.

    Shape: [B, in_channels, H, W] -> [B, 2 * expand, H, W]
    """

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, 2 * expand, H, W]."""
        x = self.squeeze_activation(self.squeeze(x))
        narrow = self.expand1x1_activation(self.expand1x1(x))
        wide = self.expand3x3_activation(self.expand3x3(x))
        return torch.cat([narrow, wide], dim=1)


def squeezenet(
    stem: nn.Conv2d, stages: tuple[tuple[tuple[int, int], ...], ...], *, num_classes: int, width: float, drop: float
) -> nn.Sequential:
    """The stem and stages of fire modules (published squeeze, expand), each begun by a max pool; then a 1x1 classifier."""
    features: list[nn.Module] = [stem, nn.ReLU(inplace=True)]
    channels = stem.out_channels
    for stage in stages:
        features.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
        for squeeze, expand in stage:
            features.append(Fire(channels, scaled(squeeze, width), scaled(expand, width)))
            channels = 2 * scaled(expand, width)
    last = nn.Conv2d(channels, num_classes, 1)
    classifier = nn.Sequential(dropout(drop), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
    net = initialised(nn.Sequential(OrderedDict(features=nn.Sequential(*features), classifier=classifier, flatten=nn.Flatten())))
    # The ReLU after the classifier passes no gradient to a class whose scores are negative, and the net would die in its first
    # steps. Softmax ignores what all scores share, so a bias of 1 costs nothing and starts them on the open side, where small
    # weights, the authors', keep them.
    nn.init.normal_(last.weight, std=0.01)
    nn.init.constant_(last.get_parameter("bias"), 1.0)
    return net


@models(input=(3, 224, 224), smallest=(3, 32, 32), params=1_248_424, macs=818_924_576, year=2016, paper=PAPER)
def squeezenet1_0(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """SqueezeNet 1.0: the accuracy of AlexNet with 50 times fewer parameters (the authors' figure)."""
    return squeezenet(
        nn.Conv2d(in_channels, scaled(96, width), 7, stride=2),
        (
            ((16, 64), (16, 64), (32, 128)),
            ((32, 128), (48, 192), (48, 192), (64, 256)),
            ((64, 256),),
        ),
        num_classes=num_classes,
        width=width,
        drop=dropout,
    )


@models(input=(3, 224, 224), smallest=(3, 32, 32), params=1_235_496, macs=349_151_936, year=2016, paper=PAPER)
def squeezenet1_1(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """SqueezeNet 1.1: as accurate as 1.0 with 2.4 times less compute (the authors' figure)."""
    return squeezenet(
        nn.Conv2d(in_channels, scaled(64, width), 3, stride=2),
        (
            ((16, 64), (16, 64)),
            ((32, 128), (32, 128)),
            ((48, 192), (48, 192), (64, 256), (64, 256)),
        ),
        num_classes=num_classes,
        width=width,
        drop=dropout,
    )
