"""ResNet with CBAM: at the end of each residual branch, attention over its channels and then over its places.

Source: Woo et al. 2018, CBAM: Convolutional block attention module, https://arxiv.org/abs/1807.06521; ResNet as in `resnet.py`.
The paper has 11.78 M parameters for 18 layers and 28.09 M for 50.
Differs: hidden widths are multiples of 8 (see `nn/cbam.py`). The paper's 3.864 G MACs of 50 layers are of a ResNet-50 with the
stride on the first 1x1 layer; the authors' code, like ours, has it on the 3x3 layer.
"""

from torch import Tensor, nn

from ..nn import CBAM
from ._registry import models
from .resnet import BasicBlock, Bottleneck, resnet

PAPER = "arxiv:1807.06521"
INPUT = (3, 224, 224)
SMALLEST = (3, 32, 32)


class CBAMBasicBlock(BasicBlock):
    """Two 3x3 convolutions, CBAM, and a shortcut.

    Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__(in_channels, channels, stride=stride, downsample=downsample)
        self.cbam = CBAM(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.cbam(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu2(y + shortcut)


class CBAMBottleneck(Bottleneck):
    """1x1, 3x3 and 1x1 convolutions, CBAM, and a shortcut.

    Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__(in_channels, channels, stride=stride, downsample=downsample)
        self.cbam = CBAM(channels * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, 4 * channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.cbam(self.bn3(self.conv3(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(y + shortcut)


@models(input=INPUT, smallest=SMALLEST, params=11_780_424, macs=1_815_065_812, year=2018, paper=PAPER)
def cbam_resnet18(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-18 with CBAM in each of its eight blocks."""
    return resnet(CBAMBasicBlock, (2, 2, 2, 2), in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=28_089_624, macs=4_095_573_110, year=2018, paper=PAPER)
def cbam_resnet50(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-50 with CBAM in each of its sixteen blocks."""
    return resnet(CBAMBottleneck, (3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes, width=width)
