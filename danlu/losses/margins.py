"""Hinge, exponential and logistic loss: three functions of the margin, by which the right class leads the others.

    m = z_y - max_(j != y) z_j                       L = f(m)                        rivals="best" (Crammer and Singer)
    m_j = z_y - z_j                                  L = sum_(j != y) f(m_j)         rivals="all" (Weston and Watkins)

    hinge        f(m) = max(0, margin - m)^power     stops at a margin that is wide enough
    exponential  f(m) = exp(-m)                      of AdaBoost: its slope grows with the mistake
    logistic     f(m) = log(1 + exp(-m))             the exponential's logarithm: its slope is at most 1

For two classes m = y (z_1 - z_0) with y = 1 or -1, and for a single output z (the score of "yes") m = y z: the binary losses.
For shares t of each class L = sum_k t_k L(y = k), the mean over labels drawn from t.

Source: Crammer and Singer 2001, https://jmlr.org/papers/v2/crammer01a.html; Weston and Watkins 1999, Support vector machines for
multi-class pattern recognition; the exponential: Friedman et al. 2000, https://doi.org/10.1214/aos/1016218223.
Differs: behind -m = limit the exponential goes on along its tangent, so that one mistake of a net cannot overflow.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ._check import check_option, class_shares
from ._registry import losses

Rivals = Literal["best", "all"]


@losses(task="classify", paper="https://jmlr.org/papers/v2/crammer01a.html")
def hinge(outputs: Tensor, targets: Tensor, *, margin: float = 1.0, power: float = 1.0, rivals: Rivals = "best") -> Tensor:
    """The hinge of support vector machines, max(0, margin - m)^power of the lead m of the right class.

    Shape: outputs [B, K] or [B, 1], targets int64 [B] or float of the outputs' shape -> scalar
    Raises: UsageError for other shapes, a margin not above 0 or a power below 1.
    """
    check_option("hinge", "margin", margin, low=0, above=True)
    check_option("hinge", "power", power, low=1)
    return _mean("hinge", outputs, targets, rivals, lambda m: F.relu(margin - m) ** power)


@losses(task="classify", paper="doi:10.1214/aos/1016218223")
def exponential(outputs: Tensor, targets: Tensor, *, rivals: Rivals = "best", limit: float = 10.0) -> Tensor:
    """AdaBoost's loss, exp(-m) of the lead m of the right class, and its tangent from -m = `limit` on.

    Shape: outputs [B, K] or [B, 1], targets int64 [B] or float of the outputs' shape -> scalar
    Raises: UsageError for other shapes, or a limit outside [0, 50].
    """
    check_option("exponential", "limit", limit, low=0, high=50)
    return _mean("exponential", outputs, targets, rivals, lambda m: (-m).clamp(max=limit).exp() * (1 + F.relu(-m - limit)))


@losses(task="classify", paper="doi:10.1214/aos/1016218223")
def logistic(outputs: Tensor, targets: Tensor, *, rivals: Rivals = "best") -> Tensor:
    """log(1 + exp(-m)) of the lead m of the right class; for two classes this is cross-entropy.

    Shape: outputs [B, K] or [B, 1], targets int64 [B] or float of the outputs' shape -> scalar
    Raises: UsageError for other shapes.
    """
    return _mean("logistic", outputs, targets, rivals, lambda m: torch.logaddexp(-m, torch.zeros_like(m)))


def _mean(name: str, outputs: Tensor, targets: Tensor, rivals: str, function: Callable[[Tensor], Tensor]) -> Tensor:
    shares = class_shares(name, outputs, targets)
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1)
        shares = torch.cat([1 - shares, shares], 1)
    if rivals == "best":
        return (shares * function(outputs - _best_other(outputs))).sum(1).mean()
    if targets.is_floating_point():  # [B, K, K]: every class may be the right one
        leads, own = outputs[:, :, None] - outputs[:, None, :], torch.eye(outputs.shape[1], device=outputs.device)
        return (shares * (function(leads) * (1 - own.to(outputs))).sum(2)).sum(1).mean()
    right = (outputs * shares).sum(1, keepdim=True)
    return (function(right - outputs) * (1 - shares)).sum(1).mean()


def _best_other(outputs: Tensor) -> Tensor:
    """For each class the largest output of the others. Shape: [B, K] -> [B, K]."""
    top = outputs.topk(2, dim=1)
    return top.values[:, :1].expand_as(outputs).scatter(1, top.indices[:, :1], top.values[:, 1:])
