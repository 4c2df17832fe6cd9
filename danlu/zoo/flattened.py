"""The flattened net: three 5x5 layers whose filters are products of a lateral, a vertical and a horizontal one.

    flattened layer = L V H L V H: two stages, linear, with a bias behind each step; a ReLU and a pool follow

Source: Jin, Dundar and Culurciello 2014, https://arxiv.org/abs/1412.5474, figure 2 (two stages by cross-validation).
Differs: the channels are those of the usual CIFAR net of the time (Srivastava and Salakhutdinov 2013, 5x5 to 96, 128 and 256) and
not taken from the paper, so there is no published count to match. A global mean takes the place of the fully connected layers,
so that any size goes in.
"""

import math
from collections import OrderedDict

import torch
from torch import nn

from ..nn import FlattenedConv2d
from ._init import initialised
from ._knobs import dropout as dropout_layer
from ._knobs import scaled
from ._registry import models

CHANNELS = (96, 128, 256)
KERNEL = 5
STAGES = 2


def flattened_layer(in_channels: int, out_channels: int) -> nn.Sequential:
    """`STAGES` times L V H. Shape: [B, in_channels, H, W] -> [B, out_channels, H, W]."""
    first = FlattenedConv2d(in_channels, out_channels, KERNEL, padding=KERNEL // 2)
    more = (FlattenedConv2d(out_channels, out_channels, KERNEL, padding=KERNEL // 2) for _ in range(STAGES - 1))
    return nn.Sequential(first, *more)


@models(input=(3, 32, 32), smallest=(3, 16, 16), params=151_530, macs=26_315_264, year=2014, paper="arxiv:1412.5474")
def flattened_net(*, in_channels: int = 3, num_classes: int = 10, width: float = 1.0, dropout: float = 0.5) -> nn.Sequential:
    """Three flattened 5x5 layers with 96, 128 and 256 channels, each with a ReLU and a 2x2 pool."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for i, published in enumerate(CHANNELS, 1):
        out_channels = scaled(published, width)
        parts[f"conv{i}"] = flattened_layer(channels, out_channels)
        parts[f"relu{i}"] = nn.ReLU(inplace=True)
        parts[f"pool{i}"] = nn.MaxPool2d(2)
        channels = out_channels
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=dropout_layer(dropout))
    parts["fc"] = nn.Linear(channels, num_classes)
    net = initialised(nn.Sequential(parts), gain=1.0)
    with torch.no_grad():  # one ReLU follows six linear steps, so only the last of them makes up for it
        for i in range(1, len(CHANNELS) + 1):
            net.get_parameter(f"conv{i}.{STAGES - 1}.horizontal.weight").mul_(math.sqrt(2))
    return net
