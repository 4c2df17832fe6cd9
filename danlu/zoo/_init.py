"""The weights every zoo net starts from.

    convolution   N(0, gain^2 / fan),  fan = kernel area * channels / groups
    linear        N(0, gain^2 / in_features); the last one N(0, 0.01^2), so that training starts at loss log(classes)
    batch norm    scale 1, shift 0
    bias          0

The channels of the fan are the output's where batch norm follows (keeps the gradients' scale, as torchvision does), the
input's in nets without norm: only that keeps the activations' scale where channels double from layer to layer.

Source: He et al. 2015, https://arxiv.org/abs/1502.01852.
Differs: a grouped convolution divides its fan by the groups; torch counts the fan of a depthwise layer C times too large.
"""

import math

from torch import nn

RELU = math.sqrt(2)
TANH = 5 / 3


def initialised(net: nn.Sequential, *, gain: float = RELU) -> nn.Sequential:
    """Draw the weights of `net` in place from torch's generator, and return it."""
    normed = any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1:]
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels if normed else layer.in_channels
            fan = math.prod(layer.kernel_size) * channels / layer.groups
            nn.init.normal_(layer.weight, std=gain / math.sqrt(fan))
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01 if layer in last else gain / math.sqrt(layer.in_features))
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return net
