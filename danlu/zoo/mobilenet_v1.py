"""MobileNet v1: every 3x3 convolution but the first is split in a depthwise and a pointwise step.

Source: Howard et al. 2017, https://arxiv.org/abs/1704.04861; the cut depths: the column "AI不惑境" on depth,
https://github.com/longpeng2008/yousan.ai.
Differs: the last depthwise layer has stride 1, as in every released weight file (the paper's table says 2).
"""

from collections import OrderedDict

from torch import nn

from ..errors import UsageError
from ..nn import DepthwiseSeparable
from ._init import initialised
from ._knobs import scaled
from ._registry import models

# (channels, stride) of each block; the five with 512 channels and stride 1 are what the paper's shallow net drops.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
SHALLOW = 18
CUT = (10, 12, 14, 16, 20, 24, 26, 28)


def blocks_of(depth: int) -> list[tuple[int, int]]:
    """(channels, stride) of the blocks of a net with `depth` layers: the stem, two layers a block, the classifier.

    A cut net ends after fewer blocks and keeps the total stride of 32: its last blocks of stride 1 get the missing strides.
    """
    if isinstance(depth, bool) or depth not in (*CUT, SHALLOW):
        allowed = ", ".join(str(allowed) for allowed in sorted((*CUT, SHALLOW)))
        raise UsageError(f"mobilenet_v1 is published with a depth of {allowed}; got depth={depth!r}")
    if depth == SHALLOW:
        return [*BLOCKS[:6], *BLOCKS[11:]]
    blocks = list(BLOCKS[: (depth - 2) // 2])
    while sum(stride == 2 for _, stride in blocks) < 4:
        last = max(i for i, (_, stride) in enumerate(blocks) if stride == 1)
        blocks[last] = (blocks[last][0], 2)
    return blocks


@models(
    input=(3, 224, 224), smallest=(3, 32, 32), params=4_231_976, macs=568_740_352, year=2017, paper="arxiv:1704.04861"
)  # fmt: skip
def mobilenet_v1(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, depth: int = 28) -> nn.Sequential:
    """MobileNet v1: depthwise separable convolutions.

    `depth` counts layers: 28 is the whole net; 18 is the paper's shallow net, without the five blocks of 512 channels and
    stride 1; 10, 12, 14, 16, 20, 24 and 26 are the column's nets, cut after 4, 5, 6, 7, 9, 11 and 12 of the 13 blocks.

    Raises: UsageError for another depth.
    """
    channels = scaled(32, width)
    stem = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False)
    features: list[nn.Module] = [stem, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    for published, stride in blocks_of(depth):
        features.append(DepthwiseSeparable(channels, scaled(published, width), stride=stride))
        channels = scaled(published, width)
    parts = OrderedDict(
        features=nn.Sequential(*features),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(channels, num_classes),
    )
    return initialised(nn.Sequential(parts))
