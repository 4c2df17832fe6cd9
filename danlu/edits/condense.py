"""Bring a trained CondenseNet into the form it runs in: an index and a grouped convolution for each learned group convolution.

    y = W (mask * x)   becomes   y = grouped convolution of x[index],      index: the inputs each group has kept

Source: Huang et al. 2017, CondenseNet, https://arxiv.org/abs/1711.09224, section 3.1 (index layer). Card: condense.md
"""

from collections.abc import Collection
from typing import Any

from torch import nn

from ..nn import LearnedGroupConv2d
from ._registry import edits
from .price import Price, price_of
from .surgery import Keep, Outcome, replace


@edits(exact=False, needs=("weights",), reduces=("params", "macs", "latency"), paper="arxiv:1711.09224", layers=True)
def condense(model: nn.Module, *, skip: Collection[str] = ()) -> Outcome:
    """Replace every `danlu.nn.LearnedGroupConv2d` by its index and its grouped convolution.

    A net that was trained to its end gives the same outputs. What a layer should still drop is dropped now, the inputs of least
    weight first: so the cost of the net can be measured before it is trained. `skip` holds names of layers, or of modules, to
    leave alone.
    """

    def decide(name: str, layer: Any) -> nn.Module | Keep:
        if layer.weight.is_meta:
            return Keep("its weights have no values to choose the inputs by")
        return layer.condensed()

    outcome = replace(model, LearnedGroupConv2d, decide, skip, price=saving)
    if not outcome.changed and not outcome.kept:
        outcome.kept.append(("", "it has no learned group convolutions"))
    return outcome


def saving(old: nn.Module, new: nn.Module) -> Price:
    """What one layer saves."""
    weights = sum(parameter.numel() for parameter in old.parameters())
    return price_of(new) - Price(params=weights, output=weights)
