"""ResNet with octave convolutions: a share alpha of the channels lives on maps of half the size, as many weights, fewer MACs.

Every convolution behind the stem is an octave one, and batch norm, ReLU and shortcut work on both maps. The last stage has
no low map: half of its 7x7 would be too small for a 3x3 kernel.

    MACs of ResNet-50 in the paper's table 2, in billions: 4.1 at alpha 0, 3.6 at 1/8, 3.1 at 1/4, 2.4 at 1/2, 1.9 at 3/4

Source: Chen et al. 2019, Drop an octave, https://arxiv.org/abs/1904.05049, table 2; the last stage as in the authors' code.
Differs: the blocks are those of `resnet.py`, where the authors' study has the pre-activation form; both stride by pooling.
`octave_resnet20` is the same rule on the CIFAR net, which the paper does not report.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ..nn import OctaveConv2d, OctaveEach
from ..nn.octave import low_channels
from ._init import initialised
from ._knobs import scaled
from ._registry import models

PAPER = "arxiv:1904.05049"


class Sum(nn.Module):
    """The sum of two tensors, or of two pairs of maps.

    Shape: two of the same shapes -> the same shapes
    """

    def __init__(self, *, pair: bool) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, x: Tensor, y: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Shape: two of the same shapes -> the same shapes."""
        return (x[0] + y[0], x[1] + y[1]) if self.pair else x + y

    def extra_repr(self) -> str:
        """Its argument."""
        return f"pair={self.pair}"


def norm(channels: int, alpha: float) -> OctaveEach:
    """Batch norm of each map of `channels` in all."""
    low = low_channels(channels, alpha)
    return OctaveEach(*(nn.BatchNorm2d(width) for width in (channels - low, low) if width))


def relu(alpha: float) -> OctaveEach:
    """ReLU of each map."""
    return OctaveEach(*(nn.ReLU(inplace=True) for _ in range(2 if alpha else 1)))


class OctaveBlock(nn.Module):
    """A residual block on pairs of maps: convolutions of `kernels`, each with norm, ReLU between them, and a shortcut.

    kernels (3, 3) is the basic block, (1, 3, 1) the bottleneck, whose last convolution has 4 times the channels. The first
    convolution takes maps split by `alpha_in`, all give maps split by `alpha`; the first 3x3 one has the stride.

    Shape: ([B, in high, H, W], [B, in low, H / 2, W / 2]) -> the same of `channels`, times 4 in a bottleneck, at H / stride
    """

    def __init__(
        self, in_channels: int, channels: int, kernels: tuple[int, ...], *, stride: int, alpha_in: float, alpha: float
    ) -> None:
        super().__init__()
        out_channels = channels * expansion(kernels)
        widths = [in_channels, *(channels for _ in kernels[1:]), out_channels]
        steps: OrderedDict[str, nn.Module] = OrderedDict()
        for i, kernel in enumerate(kernels):
            steps[f"conv{i + 1}"] = OctaveConv2d(
                widths[i],
                widths[i + 1],
                kernel,
                alpha_in=alpha if i else alpha_in,
                alpha_out=alpha,
                stride=stride if i == kernels.index(3) else 1,
            )
            steps[f"bn{i + 1}"] = norm(widths[i + 1], alpha)
            if i + 1 < len(kernels):
                steps[f"relu{i + 1}"] = relu(alpha)
        self.branch = nn.Sequential(steps)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels or alpha_in != alpha:
            conv = OctaveConv2d(in_channels, out_channels, 1, alpha_in=alpha_in, alpha_out=alpha, stride=stride)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, bn=norm(out_channels, alpha)))
        self.add = Sum(pair=alpha > 0)
        self.relu = relu(alpha)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: see the class."""
        return self.relu(self.add(self.branch(x), self.shortcut(x)))


def expansion(kernels: tuple[int, ...]) -> int:
    """How many times more channels a block gives than its 3x3 convolutions have."""
    return 4 if len(kernels) == 3 else 1


def stages(
    channels: int, counts: tuple[int, ...], widths: tuple[int, ...], kernels: tuple[int, ...], *, alpha: float
) -> OrderedDict[str, nn.Module]:
    """Stages of `counts` blocks of `widths` channels; all but the last have low maps. `channels` come in."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    alpha_in = 0.0
    for i, (count, width) in enumerate(zip(counts, widths, strict=True)):
        share = alpha if i + 1 < len(counts) else 0.0
        blocks = []
        for j in range(count):
            stride = 2 if i and not j else 1
            blocks.append(OctaveBlock(channels, width, kernels, stride=stride, alpha_in=alpha_in, alpha=share))
            channels, alpha_in = width * expansion(kernels), share
        parts[f"layer{i + 1}"] = nn.Sequential(*blocks)
    return parts


@models(input=(3, 224, 224), smallest=(3, 32, 32), params=25_557_032, macs=2_367_143_936, year=2019, paper=PAPER)
def octave_resnet50(*, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, alpha: float = 0.5) -> nn.Sequential:
    """Oct-ResNet-50: `alpha` of the channels at half size (77.3 % top-1 on ImageNet in the paper, ResNet-50: 77.0 %)."""
    channels = scaled(64, width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    widths = tuple(scaled(published, width) for published in (64, 128, 256, 512))
    parts.update(stages(channels, (3, 4, 6, 3), widths, (1, 3, 1), alpha=alpha))
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(4 * widths[-1], num_classes))
    return initialised(nn.Sequential(parts))


@models(input=(3, 32, 32), smallest=(3, 16, 16), params=272_762, macs=26_329_728, year=2019, paper=PAPER)
def octave_resnet20(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, alpha: float = 0.5) -> nn.Sequential:
    """ResNet-20 for small images with octave convolutions in its first two stages, and 1x1 convolutions in the shortcuts."""
    widths = tuple(scaled(published, width) for published in (16, 32, 64))
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(widths[0]),
        relu=nn.ReLU(inplace=True),
    )
    parts.update(stages(widths[0], (3, 3, 3), widths, (3, 3), alpha=alpha))
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(widths[-1], num_classes))
    return initialised(nn.Sequential(parts))
