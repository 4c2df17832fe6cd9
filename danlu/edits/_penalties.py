"""Penalties end where a net is restructured: they belong to the training that came before."""

import copy

from torch import nn
from torch.nn.utils import parametrize

from ..encodings import Penalty, WeightNorm, decode


def without_penalties(model: nn.Module) -> nn.Module:
    """A copy of `model` without its `Penalty` encodings, and with normalised weights as plain ones; other encodings stay.

    A penalty leaves the weight as it is, so the outputs are the same; a tensor with no other encoding is a plain parameter
    again, under its own name. What is done to a copy of the net needs this first: a parametrised weight can be neither cut
    nor folded.
    """
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        if not parametrize.is_parametrized(module):
            continue
        for name, chain in list(module.parametrizations.items()):  # type: ignore[operator, union-attr]
            others = [part for part in chain if not isinstance(part, Penalty)]
            if all(isinstance(part, WeightNorm) for part in others):
                decode(module, name)
            elif len(others) < len(chain):
                chain._modules = {str(i): part for i, part in enumerate(others)}
    return model


def only_penalised(module: nn.Module) -> bool:
    """Whether the encodings of `module`, if it has any, only steer its training."""
    if not parametrize.is_parametrized(module):
        return True
    return all(isinstance(part, Penalty | WeightNorm) for chain in module.parametrizations.values() for part in chain)  # type: ignore
