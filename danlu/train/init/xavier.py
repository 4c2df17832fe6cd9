"""Xavier (Glorot): the compromise between keeping the variance of activations (1 / n_in) and that of gradients (1 / n_out), for
activations that are the identity around 0: tanh, softsign. Behind a ReLU half of it is lost in each layer: take `he`.

    var(w) = 2 gain^2 / (n_in + n_out),   U(-sqrt(6 / (n_in + n_out)), sqrt(6 / (n_in + n_out)))

Source: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.
"""

from typing import get_args

from torch import nn

from ._check import choice, number
from ._layers import Distribution, draw, fans, weighted
from ._registry import inits


@inits(paper="pmlr:v9/glorot10a")
def xavier(model: nn.Module, *, distribution: Distribution = "uniform", gain: float = 1.0) -> None:
    """Variance 2 gain^2 / (n_in + n_out) for the weights of convolutions and linear layers; biases 0.

    Raises: UsageError for another distribution, a gain that is not above 0, and for encoded weights.
    """
    choice("xavier", "distribution", distribution, get_args(Distribution))
    number("xavier", "gain", gain, above=0)
    for layer in weighted(model):
        draw(layer, 2 * gain**2 / sum(fans(layer)), distribution)
