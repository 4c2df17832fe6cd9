"""Orthogonal weights: the neurons of a layer look in directions at right angles, and a deep linear net keeps the length of
what goes through it, and of its gradients, exactly.

    W = gain Q,   Q Q^T = I (or Q^T Q = I)          W [out, in x kernel], Q uniform among such matrices

Source: Saxe et al. 2013, https://arxiv.org/abs/1312.6120.
Differs: each group of a grouped convolution is orthogonal for itself. A gain of sqrt(2) suits ReLU.
"""

import torch
from torch import Tensor, nn

from ._check import number
from ._layers import no_bias, weighted
from ._registry import inits


@inits(paper="arxiv:1312.6120")
@torch.no_grad()
def orthogonal(model: nn.Module, *, gain: float = 1.0) -> None:
    """Orthogonal rows, or columns where there are more rows, times `gain`, for convolutions and linear layers; biases 0.

    Raises: UsageError for a gain that is not above 0, and for encoded weights.
    """
    number("orthogonal", "gain", gain, above=0)
    for layer in weighted(model):
        for rows in layer.weight.chunk(getattr(layer, "groups", 1)):
            rows.copy_(gain * turned(rows))
        no_bias(layer)


def turned(like: Tensor) -> Tensor:
    """A random matrix with orthonormal rows or columns. Shape: [out, ...] -> [out, ...], in float32 at least."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return nn.init.orthogonal_(torch.empty(like.shape, dtype=dtype, device=like.device))
