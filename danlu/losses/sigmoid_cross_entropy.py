"""Sigmoid cross-entropy: for each class the question whether it is there, without a race between the classes.

    L = - sum_k ( t_k log s_k + (1 - t_k) log(1 - s_k) ),   s = 1 / (1 + exp(-z))

The t_k may sum to anything: an image may hold several classes, or none.

Source: Cox 1958, The regression analysis of binary sequences, https://doi.org/10.1111/j.2517-6161.1958.tb00292.x; for masks
without a race between classes: He et al. 2017, https://arxiv.org/abs/1703.06870, section 3.
Differs: the sum over classes, as in Caffe, where torch's default is the mean: so a net starts with gradients as large as those of
cross-entropy, at the same learning rate.
"""

from torch import Tensor
from torch.nn import functional as F

from ._check import class_shares
from ._registry import losses


@losses(task="classify", paper="arxiv:1703.06870")
def sigmoid_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """One yes-or-no cross-entropy a class, summed over the classes.

    Shape: outputs [B, K], targets int64 [B] or float [B, K], each from 0 to 1 -> scalar
    Raises: UsageError for other shapes.
    """
    shares = class_shares("sigmoid_cross_entropy", outputs, targets)
    return F.binary_cross_entropy_with_logits(outputs, shares, reduction="sum") / len(outputs)
