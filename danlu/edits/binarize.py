"""Binarise weights, and activations if wanted: 1 bit a weight, the real weights behind it trained straight through.

    weight[c] = a[c] sign(real[c])          a = 1 ("none", BNN) or the mean of |real[c]| ("channel", XNOR-Net)

Source: Courbariaux et al. 2016, BNN, https://arxiv.org/abs/1602.02830; Rastegari et al. 2016, XNOR-Net,
https://arxiv.org/abs/1603.05279. Card: binarize.md
"""

from collections.abc import Collection
from typing import Literal

from torch import Tensor, nn

from ..encodings import Encoding, Sign
from ..nn import BinaryActivation
from ._check import check_choice
from ._encode import TRANSPOSED, WEIGHTED, chain_of, encode_layers
from ._registry import edits
from ._trace import Neighbours, evaluating, trace
from .surgery import Change, Keep, Outcome, brief, count_params, is_skipped, set_module
from .swap_activation import ACTIVATIONS

Scale = Literal["none", "channel"]
# What hands signs on as signs: the largest of some signs is the sign of the largest.
PASSING = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout)


@edits(exact=False, needs=("weights",), reduces=("size",), layers=True, paper="arxiv:1603.05279")
def binarize(
    model: nn.Module,
    *,
    activations: bool = False,
    scale: Scale = "channel",
    stochastic: bool = False,
    ends: bool = False,
    skip: Collection[str] = (),
) -> Outcome:
    """Give convolutions and linear layers binary weights; the result needs training, which keeps real weights behind.

    scale "channel" multiplies the signs of each output channel by the mean of its |weights|, "none" leaves +-1: then a
    normalisation has to follow. The layer that is called first and the one called last stay real, unless `ends`: they
    are small, and the most is lost there. A layer whose weight is encoded already is kept.

    `activations` puts a sign in the place of every activation that feeds nothing but binary layers, through max pooling
    and flattening at most. The others are kept, with the reason; binary layers whose input stays real are named as well.
    `stochastic` draws in training, P(+1) = hard_sigmoid: the activations where they are to be binary, else the weights.

    Raises: UsageError for another scale, or a module in `skip` that is not there.
    """
    check_choice("scale", scale, Scale)
    real = set() if ends else set(first_and_last(model))

    def decide(name: str, layer: nn.Module, weight: Tensor) -> list[Encoding] | Keep:
        if model.get_submodule(name) in real:
            return Keep("the first and the last layer stay real; ends=True makes them binary too")
        others = [type(part).__name__ for part in chain_of(layer, "weight")]
        if others:
            return Keep(f"its weight is encoded by {others[0]} already")
        axis = int(isinstance(layer, TRANSPOSED))
        return [Sign(scale=scale == "channel", stochastic=stochastic and not activations, axis=axis, shape=weight.shape)]

    outcome = encode_layers(model, decide, skip)
    if activations:
        binarize_activations(outcome, stochastic, skip)
        outcome.params = (outcome.params[0], count_params(outcome.model))
    return outcome


def first_and_last(model: nn.Module) -> list[nn.Module]:
    """The weighted layers that a forward calls first and last; in the order of registration where it can't be traced."""
    with evaluating(model):
        graph = trace(model)
    if graph is not None:
        called = [model.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"]
    else:
        called = list(model.modules())
    weighted = [layer for layer in called if isinstance(layer, WEIGHTED)]
    return [weighted[0], weighted[-1]] if weighted else []


def binarize_activations(outcome: Outcome, stochastic: bool, skip: Collection[str]) -> None:
    """Put signs into `outcome.model`, in place, and say what stays."""
    model = outcome.model
    neighbours = Neighbours(model)
    named = list(model.named_modules())
    binary = {layer for _, layer in named if isinstance(layer, WEIGHTED) and is_binary(layer)}
    replaced: set[nn.Module | None] = set()
    for name, layer in named:
        if not isinstance(layer, ACTIVATIONS):
            continue
        users = beyond(neighbours.after, layer)
        if is_skipped(name, skip):
            outcome.kept.append((name, "named in skip"))
        elif not users:
            outcome.kept.append((name, "it is never called, or only where the forward cannot be traced"))
        elif not users <= binary:
            outcome.kept.append((name, "it feeds something else than binary layers"))
        else:
            new = BinaryActivation(stochastic=stochastic)
            set_module(model, name, new)
            outcome.changed.append(Change(name, brief(layer), brief(new)))
            replaced.add(layer)
    for name, layer in named:
        if layer in binary and not beyond(neighbours.before, layer) <= replaced:
            outcome.kept.append((name, "its input stays real: no activation that could be a sign stands alone before it"))


def is_binary(layer: nn.Module) -> bool:
    """Whether the weight of a layer has two values in each channel."""
    return any(isinstance(part, Sign) for part in chain_of(layer, "weight"))


def beyond(links: dict[nn.Module, set[nn.Module | None]], layer: nn.Module) -> set[nn.Module | None]:
    """What lies next to `layer` in the direction of `links`, looking through the layers that hand signs on."""
    found: set[nn.Module | None] = set()
    seen: set[nn.Module] = set()
    waiting = [layer]
    while waiting:
        for other in links.get(waiting.pop(), set()):
            if not isinstance(other, PASSING):
                found.add(other)
            elif other not in seen:
                seen.add(other)
                waiting.append(other)
    return found
