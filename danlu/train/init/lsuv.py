"""LSUV, layer-sequential unit variance: orthogonal weights, then each layer is scaled to outputs of variance 1 on real images,
from the first layer to the last. No formula has to know the activation, the norms or the shape of the net.

    W <- W / sqrt(var(W x))          x: what arrives at the layer from the layers that are scaled already

Source: Mishkin and Matas 2015, https://arxiv.org/abs/1511.06422.
Differs: one pass and one division. The paper repeats both until the variance is near 1; without biases the outputs are linear
in the weights, so that the first division is exact.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._check import number
from ._layers import is_weighted, weighted
from ._passes import as_first_step, hooked
from ._registry import inits
from .orthogonal import orthogonal


@inits(paper="arxiv:1511.06422")
@torch.no_grad()
def lsuv(model: nn.Module, *, images: Tensor, variance: float = 1.0) -> None:
    """Orthogonal weights, scaled so that the outputs of each convolution and linear layer have this variance; biases 0.

    Layers that the images do not pass, or where nothing arrives, stay orthogonal; one that is called twice goes by its first.
    Shape: images [B, C, H, W]. Raises: UsageError for a variance that is not above 0, and for encoded weights.
    """
    number("lsuv", "variance", variance, above=0)
    orthogonal(model)
    seen: set[nn.Module] = set()

    def scale(layer: Any, inputs: Any, output: Tensor) -> Tensor | None:
        if not is_weighted(layer) or layer in seen:
            return None
        seen.add(layer)
        factor = (variance / output.float().var()).sqrt()
        if not bool(factor.isfinite()):
            return None
        layer.weight.mul_(factor.to(layer.weight.dtype))
        return output * factor.to(output.dtype)

    if weighted(model):
        with as_first_step(model), hooked(model, scale):
            model(images)
