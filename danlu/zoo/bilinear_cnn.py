"""Bilinear CNN: the products of any two channels, averaged over the image, tell fine-grained classes apart: birds by species.

    y = vgg(x)    Y = mean over pixels of y y^T    z = sign(Y) sqrt|Y|    logits = W z / ||z||

`compact_bilinear_cnn` has a sketch of Y, 8,192 numbers in the place of 262,144.

Source: Lin, RoyChowdhury and Maji 2015, https://arxiv.org/abs/1504.07889 (both streams are VGG-16 up to its last ReLU); compact:
Gao et al. 2016, https://arxiv.org/abs/1511.06062 (tensor sketch).
Differs: the two streams share their weights, as in the authors' symmetric net [D, D]. The signed root is Y / sqrt(|Y| + 1e-5),
whose gradient is finite at zero.
"""

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import BilinearPool, CompactBilinearPool
from ._init import initialised
from ._knobs import scaled
from ._registry import models
from .vgg import D, trunk

INPUT = (3, 448, 448)
SMALLEST = (3, 32, 32)
EPS = 1e-5


class SignedRoot(nn.Module):
    """sign(x) sqrt|x|: no product outweighs all others. Shape: [...] -> [...]."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [...] -> [...]."""
        return x * (x.abs() + EPS).rsqrt()


class UnitLength(nn.Module):
    """x / ||x||. Shape: [B, F] -> [B, F]."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, F] -> [B, F]."""
        return F.normalize(x)


def bilinear(pool: nn.Module, features: int, *, in_channels: int, num_classes: int, width: float) -> nn.Sequential:
    """VGG-16 without its last pool, a bilinear pool that gives `features` numbers, their normalisation, a linear layer."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        features=trunk(D, in_channels=in_channels, width=width)[:-1],
        pool=pool,
        root=SignedRoot(),
        unit=UnitLength(),
        classifier=nn.Linear(features, num_classes),
    )
    net = initialised(nn.Sequential(parts))
    # The entries of a vector of length 1 are of the size 1 / sqrt(features): this gives logits of the usual size all the same.
    nn.init.normal_(parts["classifier"].get_parameter("weight"), std=math.sqrt(1 / 3))
    return net


@models(input=INPUT, smallest=SMALLEST, params=67_143_688, macs=61_644_472_320, year=2015, paper="arxiv:1504.07889")
def bilinear_cnn(*, in_channels: int = 3, num_classes: int = 200, width: float = 1.0) -> nn.Sequential:
    """Bilinear CNN [D, D] for 200 kinds of birds: VGG-16 features, 512 x 512 products."""
    channels = scaled(512, width)
    return bilinear(BilinearPool(), channels**2, in_channels=in_channels, num_classes=num_classes, width=width)


@models(input=INPUT, smallest=SMALLEST, params=16_353_288, macs=61_593_681_920, year=2016, paper="arxiv:1511.06062")
def compact_bilinear_cnn(*, in_channels: int = 3, num_classes: int = 200, width: float = 1.0, dim: int = 8192) -> nn.Sequential:
    """Compact bilinear CNN: the 512 x 512 products sketched in `dim` numbers, as accurate and 3 % of the classifier."""
    pool = CompactBilinearPool(scaled(512, width), dim)
    return bilinear(pool, dim, in_channels=in_channels, num_classes=num_classes, width=width)
