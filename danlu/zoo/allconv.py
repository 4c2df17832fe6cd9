"""allconv: plain 3x3 convolutions with ReLU, strided instead of pooled; the nets that show what depth alone buys.

The first number counts the convolutions and the classifier. Every net takes 224x224 to a last map of 7x7. allconv5 to allconv8_3
vary the depth and where the map is halved; allconv6_1 to allconv6_8 the width: each is allconv6 with fewer channels.

Source: the column "AI不惑境" on depth and on width, https://github.com/longpeng2008/yousan.ai.
Differs: He initialisation (the authors: normal, standard deviation 0.01, on pixels that are not scaled); with `batch_norm` the
convolutions lose their bias, which the norm would cancel. The channels of allconv6_6 to 6_8 are in the authors' files; which of
these names goes with which is by analogy.
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
        (64, 64, 128, 128, 256), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_150_548, macs=982_651_904, year=2019, paper=COLUMN)
def allconv7_1(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 7: six convolutions, the first at full resolution."""
    return allconv(
        (64, 64, 128, 128, 256, 256), (1, 2, 2, 2, 2, 2), kernels=(3,) * 6,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_150_548, macs=267_342_848, year=2019, paper=COLUMN)
def allconv7_2(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 7: six convolutions, the last one more at 7x7."""
    return allconv(
        (64, 64, 128, 128, 256, 256), (2, 2, 2, 2, 2, 1), kernels=(3,) * 6,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_740_628, macs=3_699_381_248, year=2019, paper=COLUMN)
def allconv8_1(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 8: seven convolutions, the first two at full resolution."""
    return allconv(
        (64, 64, 128, 128, 256, 256, 256), (1, 1, 2, 2, 2, 2, 2), kernels=(3,) * 7,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_740_628, macs=1_011_553_280, year=2019, paper=COLUMN)
def allconv8_2(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 8: seven convolutions, the first at full resolution, the last one more at 7x7."""
    return allconv(
        (64, 64, 128, 128, 256, 256, 256), (1, 2, 2, 2, 2, 2, 1), kernels=(3,) * 7,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=1_740_628, macs=296_244_224, year=2019, paper=COLUMN)
def allconv8_3(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Depth 8: seven convolutions, the last two more at 7x7."""
    return allconv(
        (64, 64, 128, 128, 256, 256, 256), (2, 2, 2, 2, 2, 1, 1), kernels=(3,) * 7,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=36_452, macs=18_967_808, year=2019, paper=COLUMN)
def allconv6_1(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """A quarter of the channels of allconv6: too narrow in the column's comparison."""
    return allconv(
        (16, 16, 32, 32, 64), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=48_436, macs=49_675_520, year=2019, paper=COLUMN)
def allconv6_2(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """allconv6_1 with the channels of the first two layers doubled."""
    return allconv(
        (32, 32, 32, 32, 64), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=87_204, macs=28_902_656, year=2019, paper=COLUMN)
def allconv6_3(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """allconv6_1 with the channels of the third and fourth layer doubled."""
    return allconv(
        (16, 16, 64, 64, 64), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=56_228, macs=19_872_256, year=2019, paper=COLUMN)
def allconv6_4(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """allconv6_1 with the channels of the last layer doubled."""
    return allconv(
        (16, 16, 32, 32, 128), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=142_004, macs=65_030_656, year=2019, paper=COLUMN)
def allconv6_5(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """Half of the channels of allconv6: as good in the column, and a fourth of the cost."""
    return allconv(
        (32, 32, 64, 64, 128), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=189_012, macs=177_023_488, year=2019, paper=COLUMN)
def allconv6_6(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """allconv6_5 with the channels of the first two layers doubled."""
    return allconv(
        (64, 64, 64, 64, 128), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=344_884, macs=104_770_048, year=2019, paper=COLUMN)
def allconv6_7(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """allconv6_5 with the channels of the third and fourth layer doubled."""
    return allconv(
        (32, 32, 128, 128, 128), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip


@models(input=INPUT, smallest=SMALLEST, params=218_420, macs=68_645_888, year=2019, paper=COLUMN)
def allconv6_8(*, in_channels: int = 3, num_classes: int = 20, width: float = 1.0, batch_norm: bool = False) -> nn.Sequential:
    """allconv6_5 with the channels of the last layer doubled."""
    return allconv(
        (32, 32, 64, 64, 256), (2,) * 5, kernels=(3,) * 5,
        in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm,
    )  # fmt: skip
