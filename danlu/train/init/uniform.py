"""The standard initialisation before 2010: uniform, narrower where a neuron has more inputs. Each layer multiplies the variance
by a third, and by less where an activation follows, so that activations and gradients fade with depth.

    w ~ U(-1 / sqrt(n), 1 / sqrt(n)),   variance 1 / (3 n)          n: inputs of a neuron, kernel area included

Source: LeCun et al. 1998, Efficient BackProp, http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf; as the standard that they
compare with in Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.
"""

import torch
from torch import nn

from ._check import number
from ._layers import draw, fans, no_bias, weighted
from ._registry import inits


@inits(paper="pmlr:v9/glorot10a")
@torch.no_grad()
def uniform(model: nn.Module, *, limit: float | None = None) -> None:
    """U(-limit, limit) for the weights of convolutions and linear layers, 1 / sqrt(n) without a limit; biases 0.

    Raises: UsageError for a limit that is not above 0, and for encoded weights.
    """
    if limit is not None:
        number("uniform", "limit", limit, above=0)
    for layer in weighted(model):
        if limit is None:
            draw(layer, 1 / (3 * fans(layer)[0]), "uniform")
        else:
            layer.weight.uniform_(-limit, limit)
            no_bias(layer)
