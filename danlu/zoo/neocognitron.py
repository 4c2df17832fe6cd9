"""The neocognitron: layers of S-cells, which find features, alternate with layers of C-cells, which forgive their place.

    S-cell   u = relu((1 + a * x) / (1 + b v) - 1)     v = root mean square of x around the cell: inhibition that divides
    C-cell   u = psi(blur of S-planes joined)          psi(x) = x / (1 + x) for x > 0, else 0

The first convolutional net: filters a are shared over the map, a C-plane joins S-planes and blurs them.

Source: Fukushima 1980, Neocognitron, https://doi.org/10.1007/BF00344251; planes and map sizes are those of the net for digits,
Fukushima 1988, https://doi.org/10.1016/0893-6080(88)90014-7.
Differs: trained by backpropagation, which the original was not: it learned layer by layer, without a gradient. So a and the
joining weights of the C-planes are free in sign and learned, and so is b, of which only the size counts; the selectivity r is
in b. The blur is binomial, 5x5. The last C-layer is the mean over the map and a linear layer.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._few import few
from ._init import initialised
from ._registry import models

KERNEL = 5
EPS = 1e-6  # keeps the gradient of the square root finite where the input is zero
INHIBITION = 0.5  # b at the start


class Blur(nn.Module):
    """A fixed filter on each plane, with the weights of a binomial: [1, 4, 6, 4, 1] / 16 both ways.

    Shape: [B, C, H, W] -> [B, C, (H + 2 padding - 5) // stride + 1, (W + 2 padding - 5) // stride + 1]
    """

    kernel: Tensor

    def __init__(self, *, stride: int = 1, padding: int = KERNEL // 2) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        row = torch.tensor([math.comb(KERNEL - 1, i) / 2 ** (KERNEL - 1) for i in range(KERNEL)])
        self.register_buffer("kernel", row[:, None] * row)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, (H + 2 padding - 5) // stride + 1, (W + 2 padding - 5) // stride + 1]."""
        planes = x.shape[1]
        return F.conv2d(x, x.new_ones(planes, 1, 1, 1) * self.kernel, None, self.stride, self.padding, groups=planes)

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"stride={self.stride}, padding={self.padding}"


class SLayer(nn.Module):
    """S-cells: excitation by a 5x5 filter, divided by what the inhibition finds there at all.

    Shape: [B, in_planes, H, W] -> [B, planes, H + 2 padding - 4, W + 2 padding - 4]
    """

    def __init__(self, in_planes: int, planes: int, *, padding: int = KERNEL // 2) -> None:
        super().__init__()
        self.excite = nn.Conv2d(in_planes, planes, KERNEL, padding=padding, bias=False)
        self.around = Blur(padding=padding)
        self.inhibit = nn.Conv2d(1, planes, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, in_planes, H, W] -> [B, planes, H + 2 padding - 4, W + 2 padding - 4]."""
        v = (self.around(x.square().mean(1, keepdim=True)) + EPS).sqrt()
        return self.relu((1 + self.excite(x)) / (1 + self.inhibit(v).abs()) - 1)


class Saturate(nn.Module):
    """psi(x) = x / (1 + x) for x > 0, else 0. Shape: [...] -> [...]."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [...] -> [...]."""
        positive = x.clamp(min=0)
        return positive / (1 + positive)


class CLayer(nn.Sequential):
    """C-cells: planes are joined, blurred and saturate.

    Shape: [B, in_planes, H, W] -> [B, planes, (H + 2 padding - 5) // stride + 1, (W + 2 padding - 5) // stride + 1]
    """

    def __init__(self, in_planes: int, planes: int, *, stride: int, padding: int) -> None:
        super().__init__()
        self.join = nn.Conv2d(in_planes, planes, 1, bias=False)
        self.blur = Blur(stride=stride, padding=padding)
        self.psi = Saturate()


@models(input=(1, 19, 19), smallest=(1, 19, 19), params=181_185, macs=24_000_796, year=1980, paper="doi:10.1007/BF00344251")
def neocognitron(*, in_channels: int = 1, num_classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """The neocognitron for ten digits: 12 -> 8, 80 -> 33, 97 -> 64 and 47 -> 10 planes, on 19x19 pixels.

    The maps are 19x19 -> 21x21, 21x21 -> 13x13, 13x13 -> 7x7 and 3x3 -> 1x1.
    """
    s1, c1, s2, c2, s3, c3, s4 = (few(planes, width) for planes in (12, 8, 80, 33, 97, 64, 47))
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        s1=SLayer(in_channels, s1),
        c1=CLayer(s1, c1, stride=1, padding=3),
        s2=SLayer(c1, s2),
        c2=CLayer(s2, c2, stride=2, padding=4),
        s3=SLayer(c2, s3),
        c3=CLayer(s3, c3, stride=2, padding=2),
        s4=SLayer(c3, s4, padding=0),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        c4=nn.Linear(s4, num_classes),
    )
    net = initialised(nn.Sequential(parts))
    for layer in (module for module in net.modules() if isinstance(module, SLayer)):
        nn.init.constant_(layer.inhibit.weight, INHIBITION)
    return net
