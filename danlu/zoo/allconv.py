"""allconv: plain 3x3 convolutions with ReLU, strided instead of pooled; the nets that show what depth alone buys.

The number counts the convolutions and the classifier. Every net takes 224x224 to a last map of 7x7.

Source: the column "AI不惑境" on depth, https://github.com/longpeng2008/yousan.ai.
Differs: He initialisation (the authors: normal, standard deviation 0.01, on pixels that are not scaled); with
`batch_norm` the convolutions lose their bias, which the norm would cancel.
"""

from torch import nn

from ._init import initialised
from ._knobs import scaled
from ._registry import models

COLUMN = "https://github.com/longpeng2008/yousan.ai"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)


def allconv(
    channels: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    kernels: tuple[int, ...],
    in_channels: int,
    num_classes: int,
    width: float,
    batch_norm: bool,
) -> nn.Sequential:
    """Convolutions of these published channels, strides and kernels (padding 1), then the mean of each map, then a classifier."""
    layers: list[nn.Module] = []
    for published, stride, kernel in zip(channels, strides, kernels, strict=True):
        out = scaled(published, width)
        layers.append(nn.Conv2d(in_channels, out, kernel, stride=stride, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out))
        layers.append(nn.ReLU(inplace=True))
        in_channels = out
    return initialised(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, num_classes)))


@models(input=INPUT, smallest=SMALLEST, params=265_812, macs=65_632_768, year=2019, paper=COLUMN)
def allconv5(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 5: four convolutions, the first 5x5 with stride 4."""
    return allconv(
        (64, 64, 128, 128), (4, 2, 2, 2), kernels=(5, 3, 3, 3),
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=560_468, macs=238_441_472, year=2019, paper=COLUMN)
def allconv6(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 6, the column's baseline: five convolutions with stride 2."""
    return allconv(
        (64, 64, 128, 128, 256), (2, 2, 2, 2, 2), kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_150_548, macs=982_651_904, year=2019, paper=COLUMN)
def allconv7_1(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 7: six convolutions, the first at full resolution."""
    return allconv(
        (64, 64, 128, 128, 256, 256), (1, 2, 2, 2, 2, 2), kernels=(3,) * 6,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_740_628, macs=3_699_381_248, year=2019, paper=COLUMN)
def allconv8_1(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 8: seven convolutions, the first two at full resolution."""
    return allconv(
        (64, 64, 128, 128, 256, 256, 256), (1, 1, 2, 2, 2, 2, 2), kernels=(3,) * 7,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip
