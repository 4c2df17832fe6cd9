"""A 3x3 convolution in two steps: each channel filtered on its own, then channels mixed by 1x1.

    weights: 9 C_in + C_in C_out        instead of        9 C_in C_out

Source: Howard et al. 2017, https://arxiv.org/abs/1704.04861.
"""

from torch import nn

from ._registry import layers


@layers(paper="arxiv:1704.04861")
class DepthwiseSeparable(nn.Sequential):
    """Depthwise 3x3, batch norm, ReLU, pointwise 1x1, batch norm, ReLU.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]
    """

    depthwise: nn.Conv2d
    pointwise: nn.Conv2d

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU(inplace=True)
