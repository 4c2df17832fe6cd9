"""Accuracy: the share of the images whose class is named, at once or within k answers.

    accuracy = (1 / N) sum_i [argmax_k s_ik = y_i]
    top_k    = (1 / N) sum_i [rank of s_(i, y_i) among s_i1 .. s_iK  <= k]
    zero_one = 1 - accuracy

Ties: of equal scores the lower class stands first, so that top_k(k=1) is accuracy.
Source: Russakovsky et al. 2015, ImageNet large scale visual recognition challenge, https://arxiv.org/abs/1409.0575.
Differs: the rank is counted, not sorted for: as exact, and several times faster.
"""

import torch
from torch import Tensor

from ..errors import UsageError
from ._inputs import answered, scored
from ._registry import metrics

# Rows are taken in parts of this many scores, so that the comparisons stay in the cache.
PART = 1 << 18


@metrics(kind="classify", higher_is_better=True, paper="arxiv:1409.0575")
def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """The share of right answers.

    Shape: outputs [N, K] or int [N], targets int [N] -> float in 0 .. 1
    Raises: UsageError for shapes or classes that do not fit.
    """
    answers, truth, _ = answered(outputs, targets)
    return int((answers == truth).sum()) / len(truth)


@metrics(kind="classify", higher_is_better=False, paper="arxiv:1409.0575")
def zero_one(outputs: Tensor, targets: Tensor) -> float:
    """The 0-1 loss: the share of wrong answers.

    Shape: outputs [N, K] or int [N], targets int [N] -> float in 0 .. 1
    Raises: UsageError for shapes or classes that do not fit.
    """
    answers, truth, _ = answered(outputs, targets)
    return int((answers != truth).sum()) / len(truth)


@metrics(kind="classify", higher_is_better=True, paper="arxiv:1409.0575")
def top_k(outputs: Tensor, targets: Tensor, *, k: int = 5) -> float:
    """The share of images whose class is among the k highest scores.

    Shape: outputs [N, K], targets int [N] -> float in 0 .. 1
    Raises: UsageError unless 1 <= k <= K; for shapes or classes that do not fit.
    """
    scores, truth = scored(outputs, targets)
    classes = scores.shape[1]
    if not 1 <= k <= classes:
        raise UsageError(f"top_k: k must lie in 1 .. {classes}, the number of classes, got {k}")
    rows = max(PART // classes, 1)
    index = torch.arange(classes, device=scores.device)
    right = 0
    for part, wanted in zip(scores.split(rows), truth.split(rows), strict=True):
        own = part.gather(1, wanted[:, None])
        ahead = (part > own) | ((part == own) & (index < wanted[:, None]))
        right += int((ahead.sum(1, dtype=torch.int32) < k).sum())
    return right / len(truth)
