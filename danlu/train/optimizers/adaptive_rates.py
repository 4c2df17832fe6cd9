"""A rate for each weight: divided by the size of the gradients that it has seen.

    adagrad    s <- s + g^2,                  w <- w - lr g / (sqrt(s) + eps)
    rmsprop    s <- rho s + (1 - rho) g^2,    w <- w - lr g / (sqrt(s) + eps)
    adadelta   s as rmsprop,  d = g sqrt(u + eps) / sqrt(s + eps),  u <- rho u + (1 - rho) d^2,  w <- w - lr d

Adagrad never forgets, so its rates only fall; the other two forget. Adadelta takes the size of its earlier steps for the unit.

Sources: Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html; Zeiler 2012, https://arxiv.org/abs/1212.5701; Hinton 2012,
Neural networks for machine learning, lecture 6e.
"""

import torch

from ._registry import Groups, above_zero, optimizers, shares


@optimizers(lr=0.01, growth=0.5, decay="coupled", paper="https://jmlr.org/papers/v12/duchi11a.html")
def adagrad(groups: Groups, *, lr: float, eps: float = 1e-10) -> torch.optim.Optimizer:
    """The rate of a weight is divided by the root of the sum of all its squared gradients.

    Raises: UsageError unless eps > 0.
    """
    above_zero("adagrad", eps=eps)
    return torch.optim.Adagrad(groups, lr=lr, eps=eps, foreach=True)


@optimizers(lr=1.0, growth=0.5, decay="coupled", paper="arxiv:1212.5701")
def adadelta(groups: Groups, *, lr: float, rho: float = 0.9, eps: float = 1e-6) -> torch.optim.Optimizer:
    """Steps in the unit of the weights: the running size of earlier steps over that of the gradients.

    Raises: UsageError for rho outside [0, 1), or unless eps > 0.
    """
    shares("adadelta", rho=rho)
    above_zero("adadelta", eps=eps)
    return torch.optim.Adadelta(groups, lr=lr, rho=rho, eps=eps, foreach=True)


@optimizers(lr=1e-3, growth=0.5, decay="coupled", paper="Hinton 2012, Neural networks for machine learning, lecture 6e")
def rmsprop(groups: Groups, *, lr: float, rho: float = 0.9, eps: float = 1e-8) -> torch.optim.Optimizer:
    """Adagrad with a running mean for the sum: the rate follows the recent gradients.

    Raises: UsageError for rho outside [0, 1), or unless eps > 0.
    """
    shares("rmsprop", rho=rho)
    above_zero("rmsprop", eps=eps)
    return torch.optim.RMSprop(groups, lr=lr, alpha=rho, eps=eps, foreach=True)
