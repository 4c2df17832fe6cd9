"""ResNet in ResNet: beside the residual stream, which is only ever added to, runs a transient one, which each layer makes anew:
what is no longer needed can be forgotten.

    r' = relu(BN(W_rr * r + W_tr * t + shortcut(r)))        t' = relu(BN(W_rt * r + W_tt * t))

The two streams are the two halves of one map, so both lines are one convolution and a shortcut that ends in zeros. Two such
layers with a shortcut around them make the block that gives the net its name.

Source: Targ et al. 2016, Resnet in Resnet, https://arxiv.org/abs/1603.08029 (18-layer wide RiR, 5.01 % error on CIFAR-10).
Differs: the paper states 10.3 M parameters; its layers and widths, 96, 192 and 384 in both streams together, sum to 9.5 M, as in
the public implementations. Shortcuts across a change of shape have no weights (option A of ResNet); the last 1x1 layer has
neither norm nor ReLU.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ..nn import PadShortcut
from ._init import initialised
from ._knobs import scaled
from ._registry import models


class DualLayer(nn.Module):
    """One layer of both streams; the first half of the channels is the residual stream.

    Shape: [B, 2 * in_channels, H, W] -> [B, 2 * channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * in_channels, 2 * channels, 3, stride=stride, padding=1, bias=False)
        self.shortcut = PadShortcut(in_channels, 2 * channels, stride=stride)
        self.bn = nn.BatchNorm2d(2 * channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, 2 * in_channels, H, W] -> [B, 2 * channels, ceil(H / stride), ceil(W / stride)]."""
        residual, _ = x.chunk(2, dim=1)
        return self.relu(self.bn(self.conv(x) + self.shortcut(residual)))


class DualBlock(nn.Module):
    """Two layers of both streams, and a shortcut of the residual stream around them; the stride is the second layer's.

    Shape: [B, 2 * in_channels, H, W] -> [B, 2 * channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.layer1 = DualLayer(in_channels, channels)
        self.layer2 = DualLayer(channels, channels, stride=stride)
        self.shortcut = PadShortcut(in_channels, 2 * channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, 2 * in_channels, H, W] -> [B, 2 * channels, ceil(H / stride), ceil(W / stride)]."""
        residual, _ = x.chunk(2, dim=1)
        return self.layer2(self.layer1(x)) + self.shortcut(residual)


@models(input=(3, 32, 32), smallest=(3, 8, 8), params=9_469_930, macs=1_531_723_776, year=2016, paper="arxiv:1603.08029")
def resnet_in_resnet(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """18-layer wide RiR for small images: eight blocks of two layers, 48, 96 and 192 channels in each stream."""
    channels = scaled(48, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, 2 * channels, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(2 * channels),
        relu=nn.ReLU(inplace=True),
    )
    for i, (count, published) in enumerate(((2, 48), (3, 96), (3, 192))):
        out = scaled(published, width)
        first = DualBlock(channels, out, stride=1 if i == 0 else 2)
        parts[f"layer{i + 1}"] = nn.Sequential(first, *(DualBlock(out, out) for _ in range(count - 1)))
        channels = out
    parts.update(conv2=nn.Conv2d(2 * channels, num_classes, 1), avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return initialised(nn.Sequential(parts))
