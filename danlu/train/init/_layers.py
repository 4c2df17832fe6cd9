"""The layers that an initialisation draws: convolutions and linear layers, in the order they were registered."""

from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd


def weighted(model: nn.Module) -> list[Any]:
    """Every convolution and linear layer once."""
    return [layer for layer in model.modules() if isinstance(layer, _ConvNd | nn.Linear)]
