"""Xception: every inception block taken to its extreme, one branch for each channel: depthwise 3x3 and pointwise 1x1.

    y = shortcut(x) + separable(relu(separable(relu(x))))          no activation between the two steps of a separable layer

Source: Chollet 2016, https://arxiv.org/abs/1610.02357, figure 5. Tensors are named as in timm's `xception`.
Differs: paddings are symmetric, as in timm, where TensorFlow pads below and to the right first.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models


class SeparableConv2d(nn.Sequential):
    """Depthwise 3x3, then pointwise 1x1, with nothing between. Shape: [B, in_channels, H, W] -> [B, out_channels, H, W]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)


class Block(nn.Module):
    """Separable layers with `widths` channels, a ReLU before each, and a shortcut; at stride 2 a max pool behind them.

    The shortcut is a 1x1 convolution and a batch norm where the shape changes. The first block of the net, `relu` False,
    leaves out its first ReLU.

    Shape: [B, in_channels, H, W] -> [B, widths[-1], ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], *, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for i, width in enumerate(widths):
            if relu or i > 0:
                layers.append(nn.ReLU(inplace=i > 0))  # the shortcut needs what the first one sees
            layers += [SeparableConv2d(channels, width), nn.BatchNorm2d(width)]
            channels = width
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride=stride, padding=1))
        self.rep = nn.Sequential(*layers)
        changes = stride > 1 or channels != in_channels
        self.skip = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False) if changes else nn.Identity()
        self.skipbn = nn.BatchNorm2d(channels) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, widths[-1], ceil(H / stride), ceil(W / stride)]."""
        return self.rep(x) + self.skipbn(self.skip(x))


@models(
    input=(3, 299, 299), smallest=(3, 32, 32), params=22_855_952, macs=8_357_403_496, year=2016, paper="arxiv:1610.02357"
)  # fmt: skip
def xception(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """Xception: 36 convolution layers, 34 of them separable, in 14 parts, 12 of them with a shortcut."""
    a, b, c, d, e, f, g, h = (scaled(channels, width) for channels in (32, 64, 128, 256, 728, 1024, 1536, 2048))
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, a, 3, stride=2, bias=False), bn1=nn.BatchNorm2d(a), act1=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(a, b, 3, bias=False), bn2=nn.BatchNorm2d(b), act2=nn.ReLU(inplace=True),
        block1=Block(b, (c, c), stride=2, relu=False),
        block2=Block(c, (d, d), stride=2),
        block3=Block(d, (e, e), stride=2),
    )  # fmt: skip
    for i in range(4, 12):
        parts[f"block{i}"] = Block(e, (e, e, e))
    parts.update(
        block12=Block(e, (e, f), stride=2),
        conv3=SeparableConv2d(f, g), bn3=nn.BatchNorm2d(g), act3=nn.ReLU(inplace=True),
        conv4=SeparableConv2d(g, h), bn4=nn.BatchNorm2d(h), act4=nn.ReLU(inplace=True),
        avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=dropout_layer(dropout), fc=nn.Linear(h, num_classes),
    )  # fmt: skip
    return initialised(nn.Sequential(parts))
