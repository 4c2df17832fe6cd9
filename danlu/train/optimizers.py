"""Optimisers: torch's own, each with a default rate that fits the batch size, and weight decay only where it belongs.

    default rate = lr (batch / 128) ** growth

`growth` is 1 for SGD (Goyal et al. 2017, https://arxiv.org/abs/1706.02677) and 1/2 for Adam, whose steps do not grow with the
gradient (Krizhevsky 2014, https://arxiv.org/abs/1404.5997, argues for the root from the variance).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from ..errors import UsageError
from ..registry import Registry

optimizers: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer")

Groups = list[dict[str, Any]]
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
# Without normalisation the same rate diverges for SGD with momentum.
PLAIN_SHARE = 0.2


@optimizers(lr=0.05, growth=1.0)
def sgd(groups: Groups, *, lr: float, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    """Stochastic gradient descent with (Nesterov) momentum."""
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, foreach=True)


@optimizers(lr=1e-3, growth=0.5)
def adam(groups: Groups, *, lr: float) -> torch.optim.Optimizer:
    """Adam; weight decay is added to the gradient (L2)."""
    return torch.optim.Adam(groups, lr=lr, foreach=True)


@optimizers(lr=1e-3, growth=0.5)
def adamw(groups: Groups, *, lr: float) -> torch.optim.Optimizer:
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101)."""
    return torch.optim.AdamW(groups, lr=lr, foreach=True)


def default_rate(name: str, batch_size: int, model: nn.Module) -> float:
    """The base rate of an optimiser when none is given; SGD gets a fifth of it for nets without normalisation."""
    facts = optimizers[name].facts
    rate = float(facts["lr"] * (batch_size / 128) ** facts["growth"])
    plain = not any(isinstance(module, NORMS) for module in model.modules())
    return rate * PLAIN_SHARE if plain and name == "sgd" else rate


def groups_of(model: nn.Module, weight_decay: float) -> Groups:
    """Trainable parameters in two groups: weights, which decay, and biases, norms and other vectors, which do not.

    Decaying a scale or a shift pulls activations towards zero without making the function simpler.
    """
    norms = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    trained = [p for p in model.parameters() if p.requires_grad]
    decays = [p.ndim >= 2 and id(p) not in norms for p in trained]
    kinds: Iterable[tuple[bool, float]] = ((True, weight_decay), (False, 0.0))
    found = [
        {"params": [p for p, decay in zip(trained, decays, strict=True) if decay is kind], "weight_decay": amount}
        for kind, amount in kinds
    ]
    return [group for group in found if group["params"]]


def build(name: str, model: nn.Module, *, lr: float, weight_decay: float, **options: Any) -> torch.optim.Optimizer:
    """The optimiser over `groups_of(model)`; options it does not have are left out. Raises UsageError when nothing trains."""
    entry = optimizers[name]
    groups = groups_of(model, weight_decay)
    if not groups:
        raise UsageError("the model has no trainable parameters: all of them have requires_grad=False")
    return entry.build(groups, lr=lr, **{key: options[key] for key in entry.options() if key != "lr"})
