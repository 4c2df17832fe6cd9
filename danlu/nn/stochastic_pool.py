"""Stochastic pooling: while training, one pixel of each window is drawn with a chance that is its share of the window's sum.

    a = max(x, 0),   P(k) = a_k / sum_j a_j
    training: y = a_k, k drawn from P;   inference: y = sum_k P(k) a_k = sum_k a_k^2 / sum_k a_k

A regulariser without a number to tune: small activations are seen too, large ones more often.

Source: Zeiler and Fergus 2013, https://arxiv.org/abs/1301.3557.
Differs: negative activations count as zero, so that it also stands behind other layers than a ReLU. Windows that overlap draw
with common random numbers: each has the chances above, but two of them are not independent.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ._pool import Pool2d, pair
from ._registry import layers


@layers(paper="arxiv:1301.3557")
class StochasticPool2d(Pool2d):
    """Draws in training mode, weights by the same chances in eval mode; a window without positive pixels gives 0.

    Shape: [B, C, H, W] -> [B, C, H', W'], as nn.MaxPool2d
    """

    def forward(self, x: Tensor) -> Tensor:
        """Shape: [B, C, H, W] -> [B, C, H', W']."""
        a = x.relu()
        if self.training:
            return self._drawn(a)
        total = self.mean(a)
        none = total == 0
        return (self.mean(a * a) / total.masked_fill(none, 1.0)).masked_fill(none, 0.0)

    def _drawn(self, a: Tensor) -> Tensor:
        """One pixel of each window: of waiting times Exp(1) / a_k the shortest is that of k with the chance a_k / sum a."""
        waits = torch.empty_like(a).exponential_().clamp_min(torch.finfo(a.dtype).tiny)
        kernel, stride, padding = pair(self.kernel_size), pair(self.stride), pair(self.padding)
        _, place = F.max_pool2d_with_indices((a / waits).detach(), kernel, stride, padding, ceil_mode=self.ceil_mode)
        return a.flatten(2).gather(2, place.flatten(2)).view_as(place)
