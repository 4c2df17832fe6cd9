"""The weights every zoo net starts from.

    convolution   N(0, gain^2 / fan),  fan = kernel area * channels / groups
    linear        N(0, gain^2 / in_features)
    classifier    N(0, 1 / (3 fan_in)): the last of them, which no activation follows; the variance of torch's default
    batch norm    scale 1, shift 0
    bias          0

The channels of the fan are the output's in nets with batch norm (keeps the gradients' scale, as torchvision does), the
input's in nets without: only that keeps the activations' scale where channels grow from layer to layer.

Source: He et al. 2015, https://arxiv.org/abs/1502.01852.
Differs: a grouped convolution divides its fan by the groups; torch counts the fan of a depthwise layer C times too large.
"""

import math
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

Net = TypeVar("Net", bound=nn.Module)

RELU = math.sqrt(2)
TANH = 5 / 3


def initialised(net: Net, *, gain: float = RELU) -> Net:
    """Draw the weights of `net` in place from torch's generator, and return it."""
    normed = any(isinstance(layer, _BatchNorm) for layer in net.modules())
    weighted = [layer for layer in net.modules() if isinstance(layer, _ConvNd | nn.Linear)]
    for layer in weighted:
        fan = float(layer.weight[0].numel())
        if layer is weighted[-1]:
            std = math.sqrt(1 / (3 * fan))
        elif isinstance(layer, _ConvNd) and normed:
            std = gain / math.sqrt(math.prod(layer.kernel_size) * layer.out_channels / layer.groups)
        else:
            std = gain / math.sqrt(fan)
        nn.init.normal_(layer.weight, std=std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for norm in (layer for layer in net.modules() if isinstance(layer, _BatchNorm) and layer.affine):
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
    return net
