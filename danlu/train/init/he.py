"""He: the scale at which a ReLU net keeps the variance of its activations, or of its gradients, from layer to layer.

    w ~ N(0, 2 / fan)          fan: inputs (or outputs) of a neuron, kernel area included

Source: He et al. 2015, https://arxiv.org/abs/1502.01852.
"""

from typing import Literal

from torch import nn

from ._layers import weighted
from ._registry import inits


@inits(paper="arxiv:1502.01852")
def he(model: nn.Module, *, fan: Literal["in", "out"] = "in", distribution: Literal["normal", "uniform"] = "normal") -> None:
    """N(0, 2 / fan) or the uniform distribution of that variance for the weights of convolutions and linear layers; biases 0."""
    draw = nn.init.kaiming_normal_ if distribution == "normal" else nn.init.kaiming_uniform_
    for layer in weighted(model):
        draw(layer.weight, mode="fan_in" if fan == "in" else "fan_out", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
