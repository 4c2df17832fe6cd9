"""He: the scale at which a ReLU net keeps the variance of its activations, or of its gradients, from layer to layer.

    w ~ N(0, 2 / ((1 + slope^2) fan))          fan: inputs (or outputs) of a neuron, kernel area included

`slope` is that of a leaky ReLU below 0.

Source: He et al. 2015, https://arxiv.org/abs/1502.01852.
"""

from typing import Literal, get_args

from torch import nn

from ._check import choice, number
from ._layers import Distribution, draw, fans, weighted
from ._registry import inits

Fan = Literal["in", "out"]


@inits(paper="arxiv:1502.01852")
def he(model: nn.Module, *, fan: Fan = "in", distribution: Distribution = "normal", slope: float = 0.0) -> None:
    """Variance 2 / ((1 + slope^2) fan) for the weights of convolutions and linear layers; biases 0.

    Raises: UsageError for another fan or distribution, a slope that is not finite, and for encoded weights.
    """
    choice("he", "fan", fan, get_args(Fan))
    choice("he", "distribution", distribution, get_args(Distribution))
    number("he", "slope", slope)
    for layer in weighted(model):
        draw(layer, 2 / ((1 + slope**2) * fans(layer)[fan == "out"]), distribution)
