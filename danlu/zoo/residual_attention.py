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

PAPER = "arxiv:1704.06904"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)
EXPANSION = 4


class Unit(nn.Module):
    """Pre-activation bottleneck: 1x1, 3x3 and 1x1, each behind batch norm and ReLU, added to the input.

    Where the shape changes, the shortcut is a 1x1 convolution of the normed input.

    Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        out_channels = EXPANSION * channels
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        y = self.relu2(self.bn2(self.conv1(y)))
        y = self.relu3(self.bn3(self.conv2(y)))
        return shortcut + self.conv3(y)


class Hourglass(nn.Module):
    """Down by a max pool, a unit, a smaller hourglass beside a skip, a unit, up again to the size that came in.

    Shape: [B, 4 * channels, H, W] -> the same
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.down = Unit(EXPANSION * channels, channels)
        self.skip = Unit(EXPANSION * channels, channels) if levels > 1 else None
        self.inner = Hourglass(channels, levels - 1) if levels > 1 else None
        self.up = Unit(EXPANSION * channels, channels)

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
        self.first = Unit(outer, channels)
        self.trunk = nn.Sequential(Unit(outer, channels), Unit(outer, channels))
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
        self.last = Unit(outer, channels)

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
        unit = Unit(channels, inner, stride=1 if i == 1 else 2)
        parts[f"stage{i}"] = nn.Sequential(unit, AttentionModule(inner, levels))
        channels = EXPANSION * inner
    inner = scaled(512, width)
    last = EXPANSION * inner
    parts.update(
        stage4=nn.Sequential(Unit(channels, inner, stride=2), Unit(last, inner), Unit(last, inner)),
        bn2=nn.BatchNorm2d(last),
        relu2=nn.ReLU(inplace=True),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(last, num_classes),
    )
    return initialised(nn.Sequential(parts))
