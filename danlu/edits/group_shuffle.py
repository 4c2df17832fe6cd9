"""Split dense convolutions in groups, and shuffle their output channels so that the groups hear from each other.

    weights and MACs    k^2 C_in C_out / g    instead of    k^2 C_in C_out
    shuffle             y[j g + i] = x[i C/g + j],   i < g groups, j < C/g

Source: Zhang et al. 2017, ShuffleNet, https://arxiv.org/abs/1707.01083, section 3.1. Card: group_shuffle.md
"""

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from ..errors import UsageError
from ..nn import GroupShuffle
from ._dense_convs import DenseConvs, follow, rms
from ._registry import edits
from .price import price_of
from .surgery import Keep, Outcome, replace


@edits(exact=False, needs=(), reduces=("params", "macs"), paper="arxiv:1707.01083", first=True)
def group_shuffle(model: nn.Module, *, groups: int = 4, skip: Collection[str] = ()) -> Outcome:
    """Put a convolution in `groups` and a channel shuffle in the place of every dense 2-D convolution.

    What followed the convolution follows the shuffle. The weights are fresh, on the scale of the old ones; the bias stays.
    `skip` holds names of convolutions, or of modules, to leave alone.

    Kept, with the reason: grouped convolutions, those whose inputs or outputs the groups do not divide, or with no more inputs
    than groups, the one that gives the answer, and those whose weights are parametrised, shared or read from outside.

    Raises: UsageError for fewer than 2 groups.
    """
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 2:
        raise UsageError(f"group_shuffle: groups are a whole number from 2, got {groups!r}")
    convs = DenseConvs(model)

    def decide(name: str, layer: Any) -> nn.Module | Keep:
        reason = convs.why_not(name)
        if reason is not None:
            return Keep(reason)
        for what, channels in (("inputs", layer.in_channels), ("outputs", layer.out_channels)):
            if channels % groups:
                return Keep(f"{groups} groups do not divide its {channels} {what}")
        if layer.in_channels == groups:
            return Keep(f"each of {groups} groups would see one of its {groups} inputs")
        return follow(grouped(layer, groups), layer)

    return replace(model, nn.Conv2d, decide, skip, price=lambda old, new: price_of(new) - price_of(old))


@torch.no_grad()
def grouped(layer: Any, groups: int) -> GroupShuffle:
    """The convolution in groups, shuffled, with fresh weights of standard deviation sqrt(groups) w.

    w is the root mean square of the old weights: an output sums a `groups`-th of the products, and keeps its mean square.
    """
    new = GroupShuffle(
        layer.in_channels, layer.out_channels, layer.kernel_size, groups=groups, stride=layer.stride, padding=layer.padding,
        dilation=layer.dilation, bias=layer.bias is not None, padding_mode=layer.padding_mode,
        device=layer.weight.device, dtype=layer.weight.dtype,
    )  # fmt: skip
    nn.init.normal_(new.conv.weight, std=math.sqrt(groups)).mul_(rms(layer.weight))
    return new
