"""Optimisers: torch's own where torch has them, each with a default rate that fits the batch size, and weight decay only where
it belongs.

    default rate = lr (batch / 128) ** growth
    rate of a parameter = rate * its multiplier, 1 unless `rates` or `bias_rate` say otherwise

`growth` is 1 for SGD (Goyal et al. 2017, https://arxiv.org/abs/1706.02677) and 1/2 for Adam, whose steps do not grow with the
gradient (Krizhevsky 2014, https://arxiv.org/abs/1404.5997, argues for the root from the variance).
"""

from . import adabound, adafactor, adam, adaptive_rates, gradient_descent, kfac  # noqa: F401  (each registers itself)
from ._build import PLAIN_SHARE, REFERENCE_BATCH, SCALINGS, build, check, default_rate, release, set_rate
from ._groups import NORMS, freeze, groups_of, multipliers
from ._registry import CONTEXT, Groups, optimizers

__all__ = [
    "CONTEXT", "NORMS", "PLAIN_SHARE", "REFERENCE_BATCH", "SCALINGS", "Groups", "build", "check", "default_rate", "freeze",
    "groups_of", "multipliers", "optimizers", "release", "set_rate",
]  # fmt: skip
