"""Optimisers: torch's own, each with a default rate that fits the batch size, and weight decay only where it belongs.

    default rate = lr (batch / 128) ** growth
    rate of a parameter = rate * its multiplier, 1 unless `rates` says otherwise

`growth` is 1 for SGD (Goyal et al. 2017, https://arxiv.org/abs/1706.02677) and 1/2 for Adam, whose steps do not grow with the
gradient (Krizhevsky 2014, https://arxiv.org/abs/1404.5997, argues for the root from the variance).
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from ..errors import UsageError
from ..registry import Registry
from ..spec import read

optimizers: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer")

Groups = list[dict[str, Any]]
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
CONTEXT = ("lr", "momentum", "nesterov")  # settings of their own
# Without normalisation the same rate diverges for SGD with momentum: those that say `plain=True` get this share of it.
PLAIN_SHARE = 0.2


@optimizers(lr=0.05, growth=1.0, plain=True)
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
    facts = read(optimizers, name, CONTEXT).entry.facts
    rate = float(facts["lr"] * (batch_size / 128) ** facts["growth"])
    plain = not any(isinstance(module, NORMS) for module in model.modules())
    return rate * PLAIN_SHARE if plain and facts.get("plain") else rate


def multipliers(model: nn.Module, rates: Mapping[str, float]) -> dict[str, float]:
    """The factor on the learning rate of every trainable parameter, by name.

    `rates` gives factors by shell pattern of the name ("features.*": 0.1); of several patterns that match the last counts, and
    1 holds where none does. A parameter with several names (tied weights) goes by the first.

    Raises: UsageError for a pattern that matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in rates:
        if not any(fnmatchcase(name, pattern) for name in names):
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise UsageError(f"rates: {pattern!r} matches no parameter; their names are {some}")
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return {name: float(([1.0] + [f for p, f in rates.items() if fnmatchcase(name, p)])[-1]) for name in trained}


def freeze(model: nn.Module, rates: Mapping[str, float]) -> list[nn.Parameter]:
    """Stop the gradients of the parameters whose multiplier is 0, and return them: what does not move need not be computed."""
    named = dict(model.named_parameters())
    frozen = [named[name] for name, factor in multipliers(model, rates).items() if factor == 0]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen


def groups_of(model: nn.Module, weight_decay: float, rates: Mapping[str, float] | None = None) -> Groups:
    """Trainable parameters, for each multiplier of `rates` in two groups: weights, which decay, and biases, norms and other
    vectors, which do not. A multiplier of 0 leaves a parameter out.

    Decaying a scale or a shift pulls activations towards zero without making the function simpler.
    """
    norms = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    factors = multipliers(model, rates or {})
    found: dict[tuple[float, bool], list[nn.Parameter]] = {
        (factor, decays): [] for factor in dict.fromkeys(factors.values()) for decays in (True, False)
    }
    for name, parameter in model.named_parameters():
        if name in factors:
            found[factors[name], parameter.ndim >= 2 and id(parameter) not in norms].append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "rate": factor}
        for (factor, decays), parameters in found.items()
        if parameters and factor
    ]


def build(
    name: str, model: nn.Module, *, lr: float, weight_decay: float, rates: Mapping[str, float] | None = None, **options: Any
) -> torch.optim.Optimizer:
    """The optimiser over `groups_of(model)`; options it does not have are left out. Those written behind `name` win.

    Raises: UsageError when nothing trains.
    """
    spec = read(optimizers, name, CONTEXT)
    groups = groups_of(model, weight_decay, rates)
    if not groups:
        raise UsageError("the model has no trainable parameters: all of them have requires_grad=False, or a rate of 0")
    optimizer: torch.optim.Optimizer = spec(groups, lr=lr, **options)
    set_rate(optimizer, lr)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group: `rate` times its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]
