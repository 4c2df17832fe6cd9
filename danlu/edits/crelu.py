"""Compute half the channels in front of a ReLU, and take the negatives for the other half.

    relu(norm(W x))   becomes   [relu(y); relu(-y)],              y = norm(W' x), W' and norm with half the channels
    with `scale`      becomes   relu(norm([y; -y])),              y = W' x, the norm as it was: each half its own scale and shift

What follows reads as many channels as before.

Source: Shang et al. 2016, https://arxiv.org/abs/1603.05201; scale and shift: Hong et al. 2016, PVANet,
https://arxiv.org/abs/1611.08588. Card: crelu.md
"""

import copy
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..nn import CReLU, WithNegative
from ._dense_convs import DenseConvs
from ._penalties import only_penalised, without_penalties
from ._registry import edits
from ._trace import Neighbours
from .price import price_of
from .surgery import Change, Outcome, brief, check_skip, count_params, is_skipped, set_module
from .swap_norm import NORMS


class Chain(NamedTuple):
    """What follows a convolution and nothing else: a norm, or none, then a ReLU."""

    norm: Any
    relu: nn.Module


@edits(exact=False, needs=(), reduces=("params", "macs"), paper="arxiv:1603.05201", first=True)
def crelu(model: nn.Module, *, scale: bool = False, skip: Collection[str] = ()) -> Outcome:
    """Halve the outputs of every 2-D convolution that a ReLU follows, with or without a norm between, and add the negatives.

    The half that stays is the first of the filters, of each group where there are groups, with its norm. With `scale` the
    negatives come before the norm, which then gives every channel a scale and a shift of its own; where there is no norm, the
    CReLU learns them. `skip` holds names of convolutions, norms, ReLUs, or of modules, to leave alone.

    Kept, with the reason: convolutions whose output goes anywhere else, depthwise ones, those with an odd number of outputs,
    the one that gives the answer, and those whose weights are parametrised, shared or read from outside.
    """
    check_skip(model, skip)
    convs = DenseConvs(model)
    names = {module: name for name, module in model.named_modules()}
    before = count_params(model)
    new = copy.deepcopy(model)
    outcome = Outcome(new)
    neighbours = Neighbours(model)
    for name, conv in model.named_modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        chain = convs.why_not(name, grouped=True) or chain_of(conv, neighbours)
        if is_skipped(name, skip) or (
            isinstance(chain, Chain) and any(is_skipped(names[part], skip) for part in chain if part is not None)
        ):
            outcome.kept.append((name, "named in skip"))
        elif isinstance(chain, str):
            outcome.kept.append((name, chain))
        else:
            for place, old, put in halved(name, conv, chain, names, scale=scale):
                outcome.changed.append(Change(place, brief(old), told(put), price_of(put) - price_of(old)))
                set_module(new, place, put)
    outcome.params = (before, count_params(new))
    return outcome


def chain_of(conv: nn.Conv2d, neighbours: Neighbours) -> Chain | str:
    """What follows a convolution; why it may not be halved."""
    half, odd = divmod(conv.out_channels, 2)
    if odd:
        return f"its {conv.out_channels} outputs are odd"
    if half % conv.groups:
        return f"its {conv.groups} groups do not divide {half} outputs"
    after, norm = _next(conv, neighbours), None
    if isinstance(after, NORMS):
        norm = after
        after = _next(norm, neighbours)
        if isinstance(norm, nn.GroupNorm) and half % norm.num_groups:
            return f"the {norm.num_groups} groups of the norm behind it do not divide {half} channels"
        if not only_penalised(norm):
            return "a weight of the norm behind it is parametrised: bake it first"
    if type(after) is not nn.ReLU:
        return "what follows it is not a ReLU of its own"
    return Chain(norm, after)


def _next(layer: nn.Module, neighbours: Neighbours) -> nn.Module | None:
    """The one layer that `layer` feeds, where nothing else feeds that one."""
    after = next(iter(neighbours.after.get(layer, ())), None)
    return after if after is not None and neighbours.only_before(after) is layer else None


def halved(
    name: str, conv: nn.Conv2d, chain: Chain, names: dict[nn.Module, str], *, scale: bool
) -> list[tuple[str, nn.Module, nn.Module]]:
    """(name, the module, what takes its place) for a convolution and what follows it."""
    half = half_conv(conv)
    if scale and chain.norm is not None:
        return [(name, conv, nn.Sequential(OrderedDict(conv=half, negative=WithNegative())))]
    like: Any = {"device": conv.weight.device, "dtype": conv.weight.dtype}
    activation = CReLU(half.out_channels, **like) if scale else CReLU()
    found: list[tuple[str, nn.Module, nn.Module]] = [(name, conv, half), (names[chain.relu], chain.relu, activation)]
    if chain.norm is not None:
        found.insert(1, (names[chain.norm], chain.norm, half_norm(chain.norm, conv.groups)))
    return found


def half_conv(conv: nn.Conv2d) -> nn.Conv2d:
    """A copy with the first half of the filters of each group."""
    new: Any = without_penalties(conv)
    new.out_channels = conv.out_channels // 2
    for key in ("weight", "bias"):
        _cut(new, key, conv.groups)
    return new


def half_norm(norm: nn.Module, groups: int) -> nn.Module:
    """A copy for those channels."""
    new: Any = without_penalties(norm)
    if isinstance(new, nn.GroupNorm):
        new.num_channels //= 2
    else:
        new.num_features //= 2
    for key in ("weight", "bias", "running_mean", "running_var"):
        _cut(new, key, groups)
    return new


@torch.no_grad()
def _cut(module: nn.Module, key: str, groups: int) -> None:
    """Leave the first half of each of `groups` equal parts of a tensor's first dimension."""
    tensor: Tensor | None = getattr(module, key, None)
    if tensor is None:
        return
    kept = tensor.unflatten(0, (groups, 2, -1))[:, 0].flatten(0, 1).clone()
    setattr(module, key, nn.Parameter(kept, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else kept)


def told(module: nn.Module) -> str:
    """One line for what took a place."""
    return ", ".join(map(brief, module)) if isinstance(module, nn.Sequential) else brief(module)
