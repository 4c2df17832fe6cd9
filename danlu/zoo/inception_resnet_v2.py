"""Inception-ResNet v2: what the branches of an inception block find is scaled down and added to the block's input.

    y = relu(x + s conv1x1([branch_1(x); branch_2(x); ...]))          s = 0.17, 0.10, 0.20 at 35x35, 17x17, 8x8

Without the small factor s, nets of more than a thousand filters died early in training, the paper says.

Source: Szegedy et al. 2016, https://arxiv.org/abs/1602.07261, figures 15 to 18; the factors: the authors' released code.
Differs: the stem is that of the released code, Inception v3's and one inception block, for which the paper has figure 3. No side
classifier, as in timm.
"""

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from ._inception import Branches, Mixed, Part, chain
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._registry import models

MEAN = partial(nn.AvgPool2d, 3, stride=1, padding=1, count_include_pad=False)
MAX = partial(nn.MaxPool2d, 3, stride=2)

STEM: list[Part] = [(32, 3, 2), (32, 3, 1), (64, 3), MAX, (80, 1), (192, 3, 1), MAX]
MIXED_A: Branches = ([(96, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)], [MEAN, (64, 1)])
BLOCK_A: Branches = ([(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)])
REDUCTION_A: Branches = ([(384, 3, 2)], [(256, 1), (256, 3), (384, 3, 2)], [MAX])
BLOCK_B: Branches = ([(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))])
REDUCTION_B: Branches = ([(256, 1), (384, 3, 2)], [(256, 1), (288, 3, 2)], [(256, 1), (288, 3), (320, 3, 2)], [MAX])
BLOCK_C: Branches = ([(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))])

# name of the block before, its branches; how many residual blocks, their branches, their factor
STAGES: tuple[tuple[str, Branches, int, Branches, float], ...] = (
    ("mixed_a", MIXED_A, 10, BLOCK_A, 0.17),
    ("reduction_a", REDUCTION_A, 20, BLOCK_B, 0.10),
    ("reduction_b", REDUCTION_B, 9, BLOCK_C, 0.20),
)


class Residual(nn.Module):
    """y = act(x + scale * project(branches(x))); the projection is a 1x1 convolution back to the input's channels.

    Shape: [B, channels, H, W] -> [B, channels, H, W]
    """

    def __init__(self, channels: int, branches: Branches, scale: float, *, width: float, relu: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.branches = Mixed(channels, branches, width=width)
        self.project = nn.Conv2d(self.branches.out_channels, channels, 1)
        self.act = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, channels, H, W] -> [B, channels, H, W]."""
        return self.act(x + self.scale * self.project(self.branches(x)))

    def extra_repr(self) -> str:
        """The factor."""
        return f"scale={self.scale}"


@models(
    input=(3, 299, 299), smallest=(3, 75, 75), params=55_843_464, macs=13_155_794_016, year=2016, paper="arxiv:1602.07261"
)  # fmt: skip
def inception_resnet_v2(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2
) -> nn.Sequential:
    """Inception-ResNet v2: 10, 20 and 10 residual inception blocks; the last one has the factor 1 and no ReLU."""
    stem, channels = chain(in_channels, STEM, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for name, before, count, branches, scale in STAGES:
        block = Mixed(channels, before, width=width)
        parts[name] = block
        channels = block.out_channels
        repeated = [Residual(channels, branches, scale, width=width) for _ in range(count)]
        parts[f"stage{'abc'[len(parts) // 2 - 1]}"] = nn.Sequential(*repeated)
    parts["last"] = Residual(channels, BLOCK_C, 1.0, width=width, relu=False)
    parts["conv"], channels = chain(channels, [(1536, 1)], width)
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=dropout_layer(dropout))
    parts["fc"] = nn.Linear(channels, num_classes)
    return initialised(nn.Sequential(parts))
