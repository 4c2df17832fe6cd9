"""The layers that an initialisation draws: convolutions and linear layers, in the order they were registered."""

import math
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from ...errors import UsageError

Distribution = Literal["normal", "uniform"]


def is_weighted(module: nn.Module) -> bool:
    """Whether it is a convolution or a linear layer."""
    return isinstance(module, _ConvNd | nn.Linear)


def weighted(model: nn.Module) -> list[Any]:
    """Every convolution and linear layer once. Raises UsageError for encoded weights, which drawing would not change."""
    found = {name: layer for name, layer in model.named_modules() if is_weighted(layer)}
    for name, layer in found.items():
        if parametrize.is_parametrized(layer):
            by = type(next(iter(layer.parametrizations.values()))[0]).__name__
            raise UsageError(f"layer {name!r} holds its weights encoded ({by}); draw the weights first, encode them after it")
    return list(found.values())


def fans(layer: Any) -> tuple[int, int]:
    """Inputs of a neuron, and outputs that an input feeds; kernel area included, groups apart.

    torch counts the outputs of a grouped convolution `groups` times too many.
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    area = math.prod(layer.kernel_size)
    return layer.in_channels // layer.groups * area, layer.out_channels // layer.groups * area


@torch.no_grad()
def draw(layer: Any, variance: float, distribution: Distribution = "normal") -> None:
    """Weights of mean 0 and this variance; biases 0."""
    if distribution == "normal":
        layer.weight.normal_(0.0, math.sqrt(variance))
    else:
        limit = math.sqrt(3 * variance)
        layer.weight.uniform_(-limit, limit)
    no_bias(layer)


@torch.no_grad()
def no_bias(layer: Any) -> None:
    """Biases 0."""
    if layer.bias is not None:
        layer.bias.zero_()
