"""L1, L2 and what lies between: distances of numbers, that differ in how much an outlier may pull.

    d = output - target                  slope for large d
    l1          |d|                                        1     median; no smooth minimum
    l2          d^2                                        2 d   mean; an outlier pulls as far as it lies
    smooth_l1   d^2 / (2 beta), |d| < beta;   |d| - beta / 2                1
    huber       d^2 / 2, |d| < delta;         delta (|d| - delta / 2)       delta
    log_cosh    log cosh d                                 1     d^2 / 2 near 0, |d| - log 2 far away

Source: Huber 1964, https://doi.org/10.1214/aoms/1177703732; smooth L1: Girshick 2015, https://arxiv.org/abs/1504.08083,
section 2.3; log-cosh: Green 1990, https://doi.org/10.1109/42.52985.
Differs: means over all numbers, without the 1/2 of Caffe's Euclidean loss, as in torch.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ._check import check_alike, check_option
from ._registry import losses


@losses(task="regress", paper="doi:10.1214/aoms/1177703732")
def l1(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean absolute difference.

    Shape: two float tensors of one shape -> scalar
    Raises: UsageError for others.
    """
    check_alike("l1", outputs, targets)
    return F.l1_loss(outputs, targets.to(outputs.dtype))


@losses(task="regress", paper="doi:10.1214/aoms/1177703732")
def l2(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared difference.

    Shape: two float tensors of one shape -> scalar
    Raises: UsageError for others.
    """
    check_alike("l2", outputs, targets)
    return F.mse_loss(outputs, targets.to(outputs.dtype))


@losses(task="regress", paper="arxiv:1504.08083")
def smooth_l1(outputs: Tensor, targets: Tensor, *, beta: float = 1.0) -> Tensor:
    """L1 with its corner rounded within `beta`; huber(delta=beta) / beta.

    Shape: two float tensors of one shape -> scalar
    Raises: UsageError for others, or beta not above 0.
    """
    check_option("smooth_l1", "beta", beta, low=0, above=True)
    check_alike("smooth_l1", outputs, targets)
    return F.smooth_l1_loss(outputs, targets.to(outputs.dtype), beta=beta)


@losses(task="regress", paper="doi:10.1214/aoms/1177703732")
def huber(outputs: Tensor, targets: Tensor, *, delta: float = 1.0) -> Tensor:
    """L2 up to `delta`, a straight line behind it.

    Shape: two float tensors of one shape -> scalar
    Raises: UsageError for others, or delta not above 0.
    """
    check_option("huber", "delta", delta, low=0, above=True)
    check_alike("huber", outputs, targets)
    return F.huber_loss(outputs, targets.to(outputs.dtype), delta=delta)


@losses(task="regress", paper="doi:10.1109/42.52985")
def log_cosh(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean of log cosh of the difference, smooth everywhere.

    Shape: two float tensors of one shape -> scalar
    Raises: UsageError for others.
    """
    check_alike("log_cosh", outputs, targets)
    d = outputs - targets.to(outputs.dtype)
    # log(1 + sinh(d)^2) / 2 keeps the digits of a small d; logaddexp does not overflow for a large one.
    near = torch.log1p(d.clamp(-1, 1).sinh().square()) / 2
    far = torch.logaddexp(d, -d) - math.log(2)
    return torch.where(d.abs() < 1, near, far).mean()
