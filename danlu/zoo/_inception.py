"""What the inception family shares: its convolution, and branches written as tables.

Branches read as in the papers' figures: [(64, 1), (96, 3), (96, 3)] is a 1x1 layer with 64 channels and two 3x3 layers with 96.
"""

from collections.abc import Callable, Sequence

from torch import nn

from ..nn import Concat
from ._knobs import scaled

Kernel = int | tuple[int, int]
# (channels, kernel) keeps the size of the map; (channels, kernel, stride) has no padding, as a V in the papers' figures says.
Layer = tuple[int, Kernel] | tuple[int, Kernel, int]
# A list holds layers side by side. A function makes a pool.
Part = Layer | list[Layer] | Callable[[], nn.Module]
Branches = Sequence[Sequence[Part]]

EPS = 1e-3  # of the batch norms, as in the authors' code


class BasicConv2d(nn.Sequential):
    """Convolution, batch norm, ReLU; without batch norm, convolution with bias and ReLU. Keeps the size unless told otherwise.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W']; without `padding`, H' = ceil(H / stride) for an odd kernel
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Kernel,
        *,
        stride: int = 1,
        padding: int | None = None,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (high // 2, wide // 2) if padding is None else (padding, padding)
        self.conv = nn.Conv2d(in_channels, out_channels, (high, wide), stride=stride, padding=around, bias=not batch_norm)
        if batch_norm:
            self.bn = nn.BatchNorm2d(out_channels, eps=EPS)
        self.relu = nn.ReLU(inplace=True)


def chain(in_channels: int, parts: Sequence[Part], width: float) -> tuple[nn.Sequential, int]:
    """Layers in a row, their published channels times `width`; and the channels they end with."""
    layers: list[nn.Module] = []
    channels = in_channels
    for part in parts:
        if callable(part):
            layers.append(part())
        elif isinstance(part, list):
            sides = [_layer(channels, one, width) for one in part]
            layers.append(Concat(*sides))
            channels = sum(side.conv.out_channels for side in sides)
        else:
            layers.append(_layer(channels, part, width))
            channels = scaled(part[0], width)
    return nn.Sequential(*layers), channels


def _layer(in_channels: int, layer: Layer, width: float) -> BasicConv2d:
    if len(layer) == 3:
        return BasicConv2d(in_channels, scaled(layer[0], width), layer[1], stride=layer[2], padding=0)
    return BasicConv2d(in_channels, scaled(layer[0], width), layer[1])


class Mixed(Concat):
    """Chains of layers side by side, their outputs concatenated. `out_channels` says how many maps that gives.

    Shape: [B, in_channels, H, W] -> [B, out_channels, H', W'], the same H' x W' in every branch
    """

    def __init__(self, in_channels: int, branches: Branches, *, width: float) -> None:
        made = [chain(in_channels, parts, width) for parts in branches]
        super().__init__(*(branch for branch, _ in made))
        self.out_channels = sum(channels for _, channels in made)
