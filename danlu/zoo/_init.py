"""The weights every zoo net starts from.

    convolution   N(0, gain^2 / fan),  fan = kernel area * channels / groups (out channels by default)
    linear        N(0, gain^2 / in_features); the last one N(0, 0.01^2), so that training starts at loss log(classes)
    batch norm    scale 1, shift 0;    every bias 0

Source: He et al. 2015, https://arxiv.org/abs/1502.01852; gain is sqrt(2) for ReLU, 5/3 for tanh.
Differs: a grouped convolution divides its fan by the groups; torch counts the fan of a depthwise layer C times too large.
"""

import math

from torch import nn


def start(net: nn.Sequential, *, gain: float = math.sqrt(2), fan: str = "out") -> nn.Sequential:
    linear = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            side = layer.out_channels if fan == "out" else layer.in_channels
            area = math.prod(layer.kernel_size)
            nn.init.normal_(layer.weight, std=gain / math.sqrt(area * side / layer.groups))
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01 if layer is linear[-1] else gain / math.sqrt(layer.in_features))
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return net
