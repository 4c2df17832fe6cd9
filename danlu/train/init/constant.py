"""One number for all weights: the start that cannot learn, to be compared with. All units of a layer are alike, get the same
gradient and stay alike; from zero weights nothing arrives at all, and no gradient comes back to the layers below.

    w = value

Source: Rumelhart et al. 1986, https://doi.org/10.1038/323533a0, who draw small random weights to break this symmetry.
"""

import torch
from torch import nn

from ._check import number
from ._layers import no_bias, weighted
from ._registry import inits


@inits(paper="doi:10.1038/323533a0")
@torch.no_grad()
def constant(model: nn.Module, *, value: float = 0.01) -> None:
    """Every weight of convolutions and linear layers is `value`; biases 0.

    Raises: UsageError for a value that is not finite, and for encoded weights.
    """
    number("constant", "value", value)
    for layer in weighted(model):
        layer.weight.fill_(value)
        no_bias(layer)


@inits(paper="doi:10.1038/323533a0")
def zero(model: nn.Module) -> None:
    """Every weight of convolutions and linear layers is 0; biases 0.

    Raises: UsageError for encoded weights.
    """
    constant(model, value=0.0)
