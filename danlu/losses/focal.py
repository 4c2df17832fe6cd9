"""Focal loss: what the network already knows well counts less, so that the hard images are heard.

    L = - sum_k w_k t_k (1 - p_k)^gamma log p_k,   p = softmax(z)

gamma = 0 is cross-entropy; with gamma = 2 an image with p = 0.9 counts a hundredth of what it did.

Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002, equation 5.
Differs: softmax over K classes where the paper has a sigmoid for each; the paper's alpha is a weight for each class, off by
default; the mean is over the images, where the paper divides by the number of anchors that hold an object.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ._check import check_option, class_numbers, class_shares
from ._registry import losses


@losses(task="classify", paper="arxiv:1708.02002")
def focal(
    outputs: Tensor, targets: Tensor, *, gamma: float = 2.0, weights: Sequence[float] = (), label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy times (1 - p)^gamma, for many easy images; `weights` has one number a class.

    Shape: outputs [B, K], targets int64 [B] or float [B, K] -> scalar
    Raises: UsageError for other shapes, gamma below 0, or weights that are not K numbers from 0.
    """
    check_option("focal", "gamma", gamma, low=0)
    check_option("focal", "label_smoothing", label_smoothing, low=0, high=1)
    shares = class_shares("focal", outputs, targets)
    shares = (1 - label_smoothing) * shares + label_smoothing / outputs.shape[1]
    log_p = outputs.log_softmax(1)
    # 1 - p without cancellation; kept off 0, where the slope of a power below 1 is infinite.
    rest = -torch.expm1(log_p)
    losses_of = -shares * rest.clamp_min(torch.finfo(rest.dtype).tiny) ** gamma * log_p
    if weights:
        losses_of = losses_of * class_numbers("focal", "weights", weights, outputs)
    return losses_of.sum(1).mean()
