"""Inception v4: one regular stack of three kinds of inception blocks, four A, seven B, three C, a reduction between them.

    A at 35x35: 3x3 branches         B at 17x17: 1x7 and 7x1 branches         C at 8x8: 1x3 and 3x1 side by side

Source: Szegedy et al. 2016, https://arxiv.org/abs/1602.07261, figures 3 to 9.
Differs: block B has the channels and the order of 1x7 and 7x1 of the authors' code, which every released weight file has; the
figure differs. No side classifier, as in timm.
"""

from collections import OrderedDict
from functools import partial

from torch import nn

from ._inception import Branches, Mixed, Part, chain
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._registry import models

MEAN = partial(nn.AvgPool2d, 3, stride=1, padding=1, count_include_pad=False)
MAX = partial(nn.MaxPool2d, 3, stride=2)
TALL, WIDE = (7, 1), (1, 7)
SPLIT: list[Part] = [[(256, (1, 3)), (256, (3, 1))]]

STEM: list[Part] = [(32, 3, 2), (32, 3, 1), (64, 3)]

# name, how many, branches
STAGES: tuple[tuple[str, int, Branches], ...] = (
    ("stem_a", 1, ([MAX], [(96, 3, 2)])),
    ("stem_b", 1, ([(64, 1), (96, 3, 1)], [(64, 1), (64, WIDE), (64, TALL), (96, 3, 1)])),
    ("stem_c", 1, ([(192, 3, 2)], [MAX])),
    ("block_a", 4, ([(96, 1)], [(64, 1), (96, 3)], [(64, 1), (96, 3), (96, 3)], [MEAN, (96, 1)])),
    ("reduction_a", 1, ([(384, 3, 2)], [(192, 1), (224, 3), (256, 3, 2)], [MAX])),
    (
        "block_b",
        7,
        (
            [(384, 1)],
            [(192, 1), (224, WIDE), (256, TALL)],
            [(192, 1), (192, TALL), (224, WIDE), (224, TALL), (256, WIDE)],
            [MEAN, (128, 1)],
        ),
    ),
    ("reduction_b", 1, ([(192, 1), (192, 3, 2)], [(256, 1), (256, WIDE), (320, TALL), (320, 3, 2)], [MAX])),
    (
        "block_c",
        3,
        ([(256, 1)], [(384, 1), *SPLIT], [(384, 1), (448, (3, 1)), (512, (1, 3)), *SPLIT], [MEAN, (256, 1)]),
    ),
)


@models(
    input=(3, 299, 299), smallest=(3, 75, 75), params=42_679_816, macs=12_253_974_624, year=2016, paper="arxiv:1602.07261"
)  # fmt: skip
def inception_v4(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2) -> nn.Sequential:
    """Inception v4: 14 inception blocks and two reductions, without residuals."""
    stem, channels = chain(in_channels, STEM, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for name, count, branches in STAGES:
        for i in range(count):
            block = Mixed(channels, branches, width=width)
            parts[f"{name}{i + 1}" if count > 1 else name] = block
            channels = block.out_channels
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=dropout_layer(dropout))
    parts["fc"] = nn.Linear(channels, num_classes)
    return initialised(nn.Sequential(parts))
