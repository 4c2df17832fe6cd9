"""ResNet with stochastic depth: in training each block may be its shortcut alone, the later ones more often.

    survival_l = 1 - (l / L) (1 - p_L)        block l of L, p_L = 0.5: on average three quarters of the net are there

Source: Huang et al. 2016, Deep networks with stochastic depth, https://arxiv.org/abs/1603.09382 (110 layers, 5.25 % error on
CIFAR-10 where the constant net has 6.41 %).
Differs: a dropped branch is computed and multiplied by zero, which saves no time in training; see danlu.nn.StochasticDepth.
"""

from collections import OrderedDict
from collections.abc import Iterator

from torch import Tensor, nn

from ..nn import PadShortcut, StochasticDepth
from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .resnet import BasicBlock


class StochasticBlock(BasicBlock):
    """A basic block whose branch is there with probability `survival` in training, for the whole batch at once.

    Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int, survival: float) -> None:
        changes = stride != 1 or in_channels != channels
        shortcut = PadShortcut(in_channels, channels, stride=stride) if changes else None
        super().__init__(in_channels, channels, stride=stride, downsample=shortcut)
        self.drop = StochasticDepth(survival, per="batch")

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_channels, H, W] -> [B, channels, ceil(H / stride), ceil(W / stride)]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.drop(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu2(y + shortcut)


def linear_decay(blocks: int, last: float) -> Iterator[float]:
    """The survival of each block: from nearly 1 down to `last`, in equal steps."""
    for block in range(1, blocks + 1):
        yield 1 - block / blocks * (1 - last)


@models(input=(3, 32, 32), smallest=(3, 8, 8), params=1_727_962, macs=252_887_680, year=2016, paper="arxiv:1603.09382")
def stochastic_depth_resnet110(
    *, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, survival: float = 0.5
) -> nn.Sequential:
    """ResNet-110 for small images with 54 blocks of which the last is there every other step: its `survival` is 0.5."""
    channels = scaled(16, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
    )
    chances = linear_decay(54, survival)
    for i, published in enumerate((16, 32, 64)):
        blocks = []
        for j in range(18):
            out = scaled(published, width)
            blocks.append(StochasticBlock(channels, out, stride=2 if i > 0 and j == 0 else 1, survival=next(chances)))
            channels = out
        parts[f"layer{i + 1}"] = nn.Sequential(*blocks)
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes))
    return initialised(nn.Sequential(parts))
