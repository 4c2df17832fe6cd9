"""MobileNet v1 with CReLU: its five widest blocks compute half of their maps and take the negatives for the other half.

    block   y = relu(norm([f(x); -f(x)])),   f = 3x3 with two inputs a group, batch norm, ReLU, 1x1; half the channels in f

The 1x1 layers of these blocks have a quarter of the multiplications. The norm behind the negatives gives each of them a scale
and a shift of its own, as in PVANet.

Source: the column "AI-Technical-Review" on slimming a net for mobile, section 2.2.4.1, and the net behind it,
https://github.com/longpeng2008/yousan.ai; CReLU: Shang et al. 2016, https://arxiv.org/abs/1603.05201; MobileNet: Howard et al.
2017, https://arxiv.org/abs/1704.04861.
Differs: the column segments mouths with deconvolutions behind these blocks; here MobileNet's last two blocks and its classifier
follow.
"""

from collections import OrderedDict

from torch import nn

from ..nn import DepthwiseSeparable, WithNegative
from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .mobilenet_v1 import BLOCKS

HALVED = slice(6, 11)  # of MobileNet's blocks: the five with 512 channels and stride 1


class CReLUBlock(nn.Sequential):
    """A MobileNet block in half the channels, whose second half are the negatives of the first.

    Shape: [B, channels, H, W] -> [B, channels, H, W]; `channels` are even
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.grouped = nn.Conv2d(channels, half, 3, padding=1, groups=half, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.relu1 = nn.ReLU(inplace=True)
        self.pointwise = nn.Conv2d(half, half, 1, bias=False)
        self.negative = WithNegative()
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)


@models(
    input=(3, 224, 224), smallest=(3, 32, 32), params=3_246_376, macs=376_064_512, year=2018, paper="arxiv:1603.05201"
)  # fmt: skip
def mobilenet_crelu(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """MobileNet v1 whose five blocks of 512 channels compute 256 and take their negatives for the rest."""
    channels = scaled(32, width)
    stem = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False)
    features: list[nn.Module] = [stem, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    halved = range(len(BLOCKS))[HALVED]
    for i, (published, stride) in enumerate(BLOCKS):
        out_channels = scaled(published, width)
        block = CReLUBlock(channels) if i in halved else DepthwiseSeparable(channels, out_channels, stride=stride)
        features.append(block)
        channels = out_channels
    parts = OrderedDict(
        features=nn.Sequential(*features),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(channels, num_classes),
    )
    return initialised(nn.Sequential(parts))
