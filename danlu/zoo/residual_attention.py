"""Residual attention network: beside a trunk of residual units runs a mask branch that shrinks the map, grows it again and says,
for each channel at each place, how much of the trunk to amplify. It never silences: the mask is added to one.

    y = T(x) + sigmoid(M(x)) * T(x)      T: two units; M: down by 2, a unit, ..., up by 2, a unit, with skips at each size

Units are bottlenecks with norm and ReLU in front of each convolution. Masks go down to 7x7: by three levels from 56x56, two from
28x28, one from 14x14.

Source: Wang et al. 2017, Residual attention network for image classification, https://arxiv.org/abs/1704.06904; layers as in the
authors' files. The paper has 31.9 M parameters and 6.3 G MACs.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .preact_resnet import PreactBottleneck

PAPER = "arxiv:1704.06904"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)
EXPANSION = PreactBottleneck.expansion


class Hourglass(nn.Module):
    """Down by a max pool, a unit, a smaller hourglass beside a skip, a unit, up again to the size that came in.

    Shape: [B, 4 * channels, H, W] -> the same
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.down = PreactBottleneck(EXPANSION * channels, channels)
        self.skip = PreactBottleneck(EXPANSION * channels, channels) if levels > 1 else None
        self.inner = Hourglass(channels, levels - 1) if levels > 1 else None
        self.up = PreactBottleneck(EXPANSION * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, 4 * channels, H, W] -> the same."""
        y = self.down(self.pool(x))
        if self.skip is not None and self.inner is not None:
            y = self.skip(y) + self.inner(y)
        return F.interpolate(self.up(y), size=x.shape[2:], mode="bilinear", align_corners=True)


class AttentionModule(nn.Module):
    """A unit, then trunk and mask side by side, then a unit: y = t + sigmoid(mask) * t.

    Shape: [B, 4 * channels, H, W] -> the same
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        outer = EXPANSION * channels
        self.first = PreactBottleneck(outer, channels)
        self.trunk = nn.Sequential(PreactBottleneck(outer, channels), PreactBottleneck(outer, channels))
        self.mask = nn.Sequential(
            OrderedDict(
                hourglass=Hourglass(channels, levels),
                bn1=nn.BatchNorm2d(outer),
                relu1=nn.ReLU(inplace=True),
                conv1=nn.Conv2d(outer, outer, 1, bias=False),
                bn2=nn.BatchNorm2d(outer),
                relu2=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(outer, outer, 1, bias=False),
                gate=nn.Sigmoid(),
            )
        )
        self.last = PreactBottleneck(outer, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, 4 * channels, H, W] -> the same."""
        x = self.first(x)
        trunk = self.trunk(x)
        y: Tensor = self.last(trunk + trunk * self.mask(x))
        return y


@models(input=INPUT, smallest=SMALLEST, params=31_810_728, macs=6_270_836_736, year=2017, paper=PAPER)
def residual_attention_56(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """Attention-56: a unit and an attention module in each of three stages, three units, 56 layers along the trunk."""
    channels = scaled(64, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu1=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    for i, (published, levels) in enumerate(((64, 3), (128, 2), (256, 1)), 1):
        inner = scaled(published, width)
        unit = PreactBottleneck(channels, inner, stride=1 if i == 1 else 2)
        parts[f"stage{i}"] = nn.Sequential(unit, AttentionModule(inner, levels))
        channels = EXPANSION * inner
    inner = scaled(512, width)
    last = EXPANSION * inner
    parts.update(
        stage4=nn.Sequential(
            PreactBottleneck(channels, inner, stride=2), PreactBottleneck(last, inner), PreactBottleneck(last, inner)
        ),
        bn2=nn.BatchNorm2d(last),
        relu2=nn.ReLU(inplace=True),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(last, num_classes),
    )
    return initialised(nn.Sequential(parts))
