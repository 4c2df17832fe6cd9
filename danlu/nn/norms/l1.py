"""L1 batch norm: the deviation is the mean distance from the mean, so no square is taken of any value.

    y = (x - m) / s gamma + beta,       s = sqrt(pi / 2) mean |x - m|

For normal activations sqrt(pi / 2) makes s the standard deviation, so that gamma keeps its meaning.

Source: Wu et al. 2018, L1-norm batch normalization for efficient training of deep neural networks,
https://arxiv.org/abs/1802.09769.
Differs: eps under the root of s^2 + eps, one root a channel, so that in eval mode it is a batch norm.
"""

import math

from torch import Tensor

from .._registry import layers
from ._registry import Place, norms
from ._running import RunningNorm


@layers(paper="arxiv:1802.09769")
class L1BatchNorm(RunningNorm):
    """Centre: the mean; deviation: sqrt(pi / 2) times the mean distance from it. Shape: [B, C, ...] -> the same."""

    def measured(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: [C, N] -> [C], [C]."""
        mean = rows.mean(1)
        return mean, math.pi / 2 * (rows - mean[:, None]).abs().mean(1).square()


@norms(paper="arxiv:1802.09769")
def l1(place: Place) -> L1BatchNorm:
    """Batch norm by the mean absolute deviation: no squares, for hardware and low precision."""
    return L1BatchNorm(place.width, place.eps, dims=place.dims, **place.like)
