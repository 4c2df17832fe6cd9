"""Which parameters an optimiser gets, with which factor on the rate, and which of them decay.

rate(parameter) = rate * its multiplier: 1 unless `rates` or `bias_rate` say otherwise
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from torch import nn

from ...errors import UsageError
from ._registry import Groups

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def multipliers(model: nn.Module, rates: Mapping[str, float], bias_rate: float = 1.0) -> dict[str, float]:
    """The factor on the learning rate of every trainable parameter, by name.

    `rates` gives factors by shell pattern of the name ("features.*": 0.1); of several patterns that match the last counts, and
    1 holds where none does. `bias_rate` multiplies those of biases, not of norms (Caffe: 2). A parameter with several
    names (tied weights) goes by the first.

    Raises: UsageError for a pattern that matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in rates:
        if not any(fnmatchcase(name, pattern) for name in names):
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise UsageError(f"rates: {pattern!r} matches no parameter; their names are {some}")
    norms = _of_norms(model)
    found: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = float(([1.0] + [f for p, f in rates.items() if fnmatchcase(name, p)])[-1])
            is_bias = name.rpartition(".")[2] == "bias" and id(parameter) not in norms
            found[name] = factor * bias_rate if is_bias else factor
    return found


def freeze(model: nn.Module, rates: Mapping[str, float], bias_rate: float = 1.0) -> list[nn.Parameter]:
    """Stop the gradients of the parameters whose multiplier is 0, and return them: what does not move need not be computed."""
    named = dict(model.named_parameters())
    frozen = [named[name] for name, factor in multipliers(model, rates, bias_rate).items() if factor == 0]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen


def groups_of(
    model: nn.Module, weight_decay: float, rates: Mapping[str, float] | None = None, bias_rate: float = 1.0
) -> Groups:  # fmt: skip
    """Trainable parameters, for each multiplier in two groups: weights, which decay, and biases, norms and other vectors, which
    do not. A multiplier of 0 leaves a parameter out.

    Decaying a scale or a shift pulls activations towards zero without making the function simpler.
    """
    norms = _of_norms(model)
    factors = multipliers(model, rates or {}, bias_rate)
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


def _of_norms(model: nn.Module) -> set[int]:
    """The ids of the parameters that belong to norms."""
    return {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
