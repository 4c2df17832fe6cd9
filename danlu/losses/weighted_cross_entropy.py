"""Weighted cross-entropy: mistakes on rare classes cost more, so that the many do not drown the few.

    L = sum_i sum_k w_k t_ik (-log softmax(z_i)_k) / sum_i sum_k w_k t_ik

Balanced weights: w_k = N / (K n_k) for n_k images of class k among N; K counts the classes that have any. Every class then
weighs the same in the sum over the training images, and the mean weight of an image is 1.

Source: King and Zeng 2001, Logistic regression in rare events data, https://doi.org/10.1093/oxfordjournals.pan.a004868.
Differs: with label smoothing the shares in the denominator are the unsmoothed ones, as in torch.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError
from ._check import check_classes, check_option, class_numbers
from ._registry import losses


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """N / (K n_k) for each class; 0 for a class without images. Raises UsageError for counts below 0 or all 0."""
    if any(count < 0 for count in counts) or not sum(counts):
        raise UsageError(f"counts are images of each class, from 0 and not all 0, got {list(counts)}")
    classes = sum(count > 0 for count in counts)
    return [sum(counts) / (classes * count) if count else 0.0 for count in counts]


@losses(task="classify", paper="doi:10.1093/oxfordjournals.pan.a004868")
def weighted_cross_entropy(
    outputs: Tensor,
    targets: Tensor,
    *,
    weights: Sequence[float] = (),
    counts: Sequence[int] = (),
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy with a weight for each class: `weights` as they are, or balanced from the `counts` of training images.

    Shape: outputs [B, K], targets int64 [B] or float [B, K] -> scalar, 0 where a batch has no image of a class with weight
    Raises: UsageError for other shapes, and unless there are K weights or K counts from 0.
    """
    name = "weighted_cross_entropy"
    check_option(name, "label_smoothing", label_smoothing, low=0, high=1)
    check_classes(name, outputs, targets)
    if not weights and not counts:
        raise UsageError(f"{name} needs weights=[...] or counts=[...], a number for each class")
    weight = class_numbers(name, "weights", weights or balanced_weights(counts), outputs)  # written weights win over counts
    if targets.is_floating_point():
        targets = targets.to(outputs.dtype)
        total = (targets * weight).sum()
    else:
        targets = targets.long()
        total = weight[targets].sum()
    summed = F.cross_entropy(outputs, targets, weight, label_smoothing=label_smoothing, reduction="sum")
    return summed / total.clamp_min(weight.max() * 1e-6)
