"""Cross-entropy: minus the logarithm of the probability that the network gives to the right class.

    L = - sum_k t_k log softmax(z)_k,   t = (1 - e) one_hot(y) + e / K

Source: the logistic loss of Cox 1958; label smoothing e: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, section 7.
"""

from torch import Tensor
from torch.nn import functional as F

from ._check import check_classes, check_option
from ._registry import losses


@losses(task="classify", paper="arxiv:1512.00567")
def cross_entropy(outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """The usual loss of classification, with label smoothing.

    Shape: outputs [B, K], targets int64 [B] or float [B, K] -> scalar
    Raises: UsageError for other shapes, or label_smoothing outside [0, 1].
    """
    check_option("cross_entropy", "label_smoothing", label_smoothing, low=0, high=1)
    check_classes("cross_entropy", outputs, targets)
    targets = targets.to(outputs.dtype) if targets.is_floating_point() else targets.long()
    return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)
