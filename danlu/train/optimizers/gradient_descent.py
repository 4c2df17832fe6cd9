"""Gradient descent: a step against the gradient, and momentum that remembers the steps before.

    gd         w <- w - lr g
    momentum   v <- m v + g,   w <- w - lr v
    nesterov   v <- m v + g,   w <- w - lr (g + m v)

The size of the batch makes it batch gradient descent (batch_size="all"), stochastic (1) or mini-batch.

Sources: Robbins and Monro 1951, https://doi.org/10.1214/aoms/1177729586; Polyak 1964,
https://doi.org/10.1016/0041-5553(64)90137-5; Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html.
Differs: the velocity holds gradients, not steps (v <- m v - lr g). The path is the same at a constant rate, and a change of the
rate acts at once.
"""

import torch

from ...errors import UsageError
from ._registry import Groups, optimizers, shares


@optimizers(lr=0.5, growth=1.0, plain=True, decay="coupled", paper="doi:10.1214/aoms/1177729586")
def gd(groups: Groups, *, lr: float) -> torch.optim.Optimizer:
    """Gradient descent without momentum; batch, stochastic or mini-batch by the batch size."""
    return torch.optim.SGD(groups, lr=lr, foreach=True)


@optimizers(lr=0.05, growth=1.0, plain=True, decay="coupled", paper="https://proceedings.mlr.press/v28/sutskever13.html")
def sgd(groups: Groups, *, lr: float, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    """Stochastic gradient descent with (Nesterov) momentum, as the settings `momentum` and `nesterov` say.

    Raises: UsageError for a momentum outside [0, 1).
    """
    shares("sgd", momentum=momentum)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, foreach=True)


@optimizers(lr=0.05, growth=1.0, plain=True, decay="coupled", paper="doi:10.1016/0041-5553(64)90137-5")
def momentum(groups: Groups, *, lr: float, momentum: float) -> torch.optim.Optimizer:
    """Gradient descent that goes on in the direction of its earlier steps.

    Raises: UsageError for a momentum outside [0, 1).
    """
    shares("momentum", momentum=momentum)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, foreach=True)


@optimizers(lr=0.05, growth=1.0, plain=True, decay="coupled", paper="https://proceedings.mlr.press/v28/sutskever13.html")
def nesterov(groups: Groups, *, lr: float, momentum: float) -> torch.optim.Optimizer:
    """Momentum with the gradient of the point that the momentum leads to.

    Raises: UsageError for a momentum outside (0, 1).
    """
    if not 0 < momentum < 1:
        raise UsageError(f"nesterov: momentum must be above 0 and below 1, got {momentum}")
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=True, foreach=True)
