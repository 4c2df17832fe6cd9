"""The all convolutional net: a max pool is a convolution with stride that nobody trained; so train one, and drop the pools.

    down    before the next stage                            the paper's name, for model C
    pool    3x3 max pool of stride 2                         model C
    stride  the last convolution gets stride 2               Strided-CNN-C
    convpool  one more 3x3 convolution, then the pool        ConvPool-CNN-C
    conv    that convolution with stride 2, and no pool      All-CNN-C

Source: Springenberg et al. 2014, Striving for simplicity, https://arxiv.org/abs/1412.6806, tables 1 and 2.
Differs: no dropout of the input (the paper: 0.2). The paper rounds: the 1.4 M parameters of All-CNN-C are 1.37 M.
"""

from typing import Literal, get_args

from torch import nn

from ..errors import unknown
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

Down = Literal["conv", "stride", "pool", "convpool"]
PAPER = "arxiv:1412.6806"
INPUT = (3, 32, 32)
SMALLEST = (3, 16, 16)


def convolution(in_channels: int, channels: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps the size but for its stride, and a ReLU."""
    return [nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2), nn.ReLU(inplace=True)]


def all_cnn(
    net: str, kernels: tuple[int, ...], *, in_channels: int, num_classes: int, width: float, drop: float, down: str
) -> nn.Sequential:
    """Two stages of convolutions of these kernels, with 96 and 192 channels; 3x3, 1x1, one map a class, and their means."""
    if down not in get_args(Down):
        raise unknown(f"down of {net}", str(down), get_args(Down))
    layers: list[nn.Module] = []
    for published in (96, 192):
        channels = scaled(published, width)
        for i, kernel in enumerate(kernels):
            last = i == len(kernels) - 1
            layers += convolution(in_channels, channels, kernel, stride=2 if last and down == "stride" else 1)
            in_channels = channels
        if down in ("conv", "convpool"):
            layers += convolution(channels, channels, 3, stride=2 if down == "conv" else 1)
        if down in ("pool", "convpool"):
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        layers.append(dropout_layer(drop))
    layers += [
        nn.Conv2d(in_channels, in_channels, 3),  # without padding: 8x8 to 6x6
        nn.ReLU(inplace=True),
        *convolution(in_channels, in_channels, 1),
        *convolution(in_channels, num_classes, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
    return initialised(nn.Sequential(*layers))


@models(input=INPUT, smallest=SMALLEST, params=1_254_250, macs=181_145_088, year=2014, paper=PAPER)
def all_cnn_a(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, dropout: float = 0.5, down: str = "conv"
) -> nn.Sequential:
    """All-CNN-A: one 5x5 convolution a stage. `down` is how a stage ends: "conv", "stride", "pool" or "convpool"."""
    return all_cnn(
        "all_cnn_a", (5,), in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout, down=down
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_300_618, macs=200_019_456, year=2014, paper=PAPER)
def all_cnn_b(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, dropout: float = 0.5, down: str = "conv"
) -> nn.Sequential:
    """All-CNN-B: a 5x5 and a 1x1 convolution a stage. `down` is how a stage ends: "conv", "stride", "pool" or "convpool"."""
    return all_cnn(
        "all_cnn_b", (5, 1), in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout, down=down
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_369_738, macs=270_798_336, year=2014, paper=PAPER)
def all_cnn_c(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, dropout: float = 0.5, down: str = "conv"
) -> nn.Sequential:
    """All-CNN-C: two 3x3 convolutions a stage. `down` is how a stage ends: "conv", "stride", "pool" or "convpool"."""
    return all_cnn(
        "all_cnn_c", (3, 3), in_channels=in_channels, num_classes=num_classes, width=width, drop=dropout, down=down
    )  # fmt: skip
