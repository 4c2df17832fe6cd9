"""Gaussian weights of one width for all layers: right for one number of inputs, too wide for more, too narrow for fewer.

    w ~ N(mean, std^2)

Source: Krizhevsky et al. 2012, https://papers.nips.cc/paper/4824 (std 0.01, as Caffe's `gaussian` filler).
"""

import torch
from torch import nn

from ._check import number
from ._layers import no_bias, weighted
from ._registry import inits


@inits(paper="nips:4824")
@torch.no_grad()
def normal(model: nn.Module, *, std: float = 0.01, mean: float = 0.0) -> None:
    """N(mean, std^2) for the weights of convolutions and linear layers; biases 0.

    Raises: UsageError for a std that is not above 0, a mean that is not finite, and for encoded weights.
    """
    number("normal", "std", std, above=0)
    number("normal", "mean", mean)
    for layer in weighted(model):
        layer.weight.normal_(mean, std)
        no_bias(layer)
