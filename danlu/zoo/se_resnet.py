"""SE-ResNet: squeeze and excitation at the end of each residual branch weighs the branch's channels, image by image, before it
is added to its shortcut.

Source: Hu et al. 2017, Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507; ResNet as in `resnet.py` and
`resnet_cifar.py`.
Differs: hidden widths are multiples of 8, as in timm (see `nn/squeeze_excitation.py`). The paper's 3.87 G MACs of SE-ResNet-50
are of a ResNet-50 with the stride on the first 1x1 layer; ours has it on the 3x3 layer.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ..nn import PadShortcut, SqueezeExcitation
from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .resnet import BasicBlock, Bottleneck, resnet

PAPER = "arxiv:1709.01507"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)


class SEBasicBlock(BasicBlock):
    """Two 3x3 convolutions, squeeze and excitation, and a shortcut.

    Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__(in_channels, channels, stride=stride, downsample=downsample)
        self.se = SqueezeExcitation(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.se(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu2(y + shortcut)


class SEBottleneck(Bottleneck):
    """1x1, 3x3 and 1x1 convolutions, squeeze and excitation, and a shortcut.

    Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__(in_channels, channels, stride=stride, downsample=downsample)
        self.se = SqueezeExcitation(channels * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.se(self.bn3(self.conv3(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(y + shortcut)


@models(input=INPUT, smallest=SMALLEST, params=11_779_624, macs=1_814_161_408, year=2017, paper=PAPER)
def seresnet18(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """SE-ResNet-18: two basic blocks in each of four stages."""
    return resnet(SEBasicBlock, (2, 2, 2, 2), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=28_088_024, macs=4_091_699_200, year=2017, paper=PAPER)
def seresnet50(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """SE-ResNet-50: 3, 4, 6 and 3 bottlenecks; as accurate as a ResNet-101 by the paper."""
    return resnet(SEBottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=49_326_872, macs=7_806_148_608, year=2017, paper=PAPER)
def seresnet101(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """SE-ResNet-101: 3, 4, 23 and 3 bottlenecks."""
    return resnet(SEBottleneck, (3, 4, 23, 3), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=(3, 32, 32), smallest=(3, 8, 8), params=275_506, macs=40_556_416, year=2017, paper=PAPER)
def se_resnet20(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """SE-ResNet-20 for small images: three basic blocks in each of three stages, shortcuts without weights."""
    channels = scaled(16, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
    )
    for i, published in enumerate((16, 32, 64), 1):
        wider = scaled(published, width)
        blocks = [SEBasicBlock(wider, wider) for _ in range(2)]
        shortcut = None if i == 1 else PadShortcut(channels, wider, stride=2)
        parts[f"layer{i}"] = nn.Sequential(
            SEBasicBlock(channels, wider, stride=1 if i == 1 else 2, downsample=shortcut), *blocks
        )  # fmt: skip
        channels = wider
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    return initialised(nn.Sequential(parts))
