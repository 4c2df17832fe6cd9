"""Large-margin softmax loss: cross-entropy that the right class has to win with its angle to the weights multiplied.

    L = - log( e^f_y / (e^f_y + sum_(j != y) e^z_j) )          f <= z: what the layer makes of a logit with the margin

f and z are of a LargeMarginLinear, which explains them: `danlu.nn.large_margin_head(model)` puts it in the place of a net's
classifier, `plain_head` takes it back. In eval mode there is no f, and the loss is cross-entropy.
For shares t of each class L = sum_k t_k L(y = k), the mean over labels drawn from t.

Source: Liu et al. 2016, https://arxiv.org/abs/1612.02295, section 3.
"""

import torch
from torch import Tensor

from ..errors import UsageError
from ._check import class_shares, describe
from ._registry import losses
from .cross_entropy import cross_entropy


@losses(task="classify", paper="arxiv:1612.02295", head=True)
def large_margin_softmax(
    outputs: Tensor,
    targets: Tensor,
    *,
    margin: int = 4,
    base: float = 1000.0,
    gamma: float = 2.5e-4,
    power: float = 35.0,
    least: float = 0.0,
) -> Tensor:
    """Cross-entropy of a LargeMarginLinear, which `fit` puts in for the training; the options are those of that layer.

    Shape: outputs [B, 2, K] of a LargeMarginLinear in training mode, or [B, K]; targets int64 [B] or float [B, K] -> scalar
    Raises: UsageError for other shapes.
    """
    if outputs.ndim == 2:
        return cross_entropy(outputs, targets)
    if outputs.ndim != 3 or outputs.shape[1] != 2:
        raise UsageError(
            f"large_margin_softmax takes [B, 2, K] of a LargeMarginLinear, or logits [B, K], got {describe(outputs)}"
        )
    wide, plain = outputs.unbind(1)
    shares = class_shares("large_margin_softmax", plain, targets)
    # log(e^f + rest) for each class as the right one; rest is the sum without that class.
    loss = torch.logaddexp(wide, _log_sum_of_others(plain)) - wide
    return (shares * loss).sum(1).mean()


def _log_sum_of_others(z: Tensor) -> Tensor:
    """log sum_(j != k) exp z_j for each k. Shape: [B, K], K >= 2 -> [B, K].

    The sum of all less one of them, save for the largest: there the difference would have no digits, so the rest is summed.
    """
    largest = torch.zeros_like(z, dtype=torch.bool).scatter_(1, z.argmax(1, keepdim=True), True)
    total = z.logsumexp(1, keepdim=True)
    rest = z.masked_fill(largest, -torch.inf).logsumexp(1, keepdim=True)
    less = torch.log1p(-(z - total).masked_fill(largest, -torch.inf).exp()) + total
    return torch.where(largest, rest, less)
