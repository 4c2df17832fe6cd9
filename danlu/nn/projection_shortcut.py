"""The shortcut with weights: a 1x1 convolution brings the input to the shape of the branch that it is added to.

    y = BN(W x[:, :, ::stride, ::stride])        W: in_channels -> out_channels at each pixel

Source: He et al. 2015, option B of section 3.3, https://arxiv.org/abs/1512.03385.
"""

from torch import nn

from ._registry import layers


@layers(paper="arxiv:1512.03385")
class ProjectionShortcut(nn.Sequential):
    """1x1 convolution with a stride, batch norm. Tensors are named as in torchvision: 0 the convolution, 1 the norm.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels))
