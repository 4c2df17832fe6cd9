"""Kullback-Leibler divergence: how far the network's probabilities are from given ones; soft: both flattened by a temperature.

    kl      L = sum_k t_k log(t_k / p_k),                     p = softmax(z)
    soft    L = T^2 sum_k q_k log(q_k / p_k),                 p = softmax(z / T),  q_k = t_k^(1 / T) / sum_j t_j^(1 / T)

It is cross-entropy less the entropy of the targets: the gradients of `kl` are those of cross-entropy, but its minimum is 0
for any targets. It is not symmetric: KL(t || p) asks the network to cover every class that t holds possible.
For the probabilities t = softmax(v) of a teacher, q = softmax(v / T). T^2 keeps the gradients at their size.

Source: Kullback and Leibler 1951, https://doi.org/10.1214/aoms/1177729694; soft: Hinton et al. 2015,
https://arxiv.org/abs/1503.02531. With a teacher, `fit` computes the same from its logits: `danlu.tasks.distillation`.
"""

from torch import Tensor
from torch.nn import functional as F

from ._check import check_option, class_shares
from ._registry import losses


@losses(task="classify", paper="doi:10.1214/aoms/1177729694")
def kl(outputs: Tensor, targets: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(targets || softmax(outputs)).

    Shape: outputs [B, K], targets int64 [B] or float [B, K] -> scalar
    Raises: UsageError for other shapes.
    """
    shares = class_shares("kl", outputs, targets)
    return F.kl_div(outputs.log_softmax(1), shares, reduction="batchmean")


@losses(task="classify", paper="arxiv:1503.02531")
def soft(outputs: Tensor, targets: Tensor, *, temperature: float = 4.0) -> Tensor:
    """Distillation: T^2 KL between targets and outputs at temperature T; the targets are probabilities, such as a teacher's.

    Shape: outputs [B, K], targets int64 [B] or float [B, K] -> scalar
    Raises: UsageError for other shapes, or temperature not above 0.
    """
    check_option("soft", "temperature", temperature, low=0, above=True)
    flat = class_shares("soft", outputs, targets) ** (1 / temperature)
    flat = flat / flat.sum(1, keepdim=True)
    return F.kl_div((outputs / temperature).log_softmax(1), flat, reduction="batchmean") * temperature**2
