"""Make 3x3 convolutions selective kernels: the same at several dilations, among which each image chooses, channel by channel.

    y = sum_m a_m * conv_m(x),    a = softmax over m of V_m relu(W mean(sum_m conv_m(x)))       conv_m at dilation m
    weights  M times those of the convolution (once with `split`), and (M + 1) C d,  d = max(C / reduction, least)

The norm and the activation behind the convolution stay where they are: they see the chosen sum.

Source: Li et al. 2019, Selective Kernel Networks, https://arxiv.org/abs/1903.06586.
Differs: the paper has norm and ReLU inside each branch, before the choice. Card: sk.md
"""

import math
from collections.abc import Collection
from typing import cast

from torch import nn
from torch.nn.modules.conv import _ConvNd

from ..nn import SelectiveKernel
from ._behind import EVEN, he_normal
from ._owner import owner, unusual
from ._registry import edits
from ._units import units
from .price import Price, price_of
from .surgery import Keep, Outcome, is_skipped, replace


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1903.06586", first=True)
def sk(
    model: nn.Module,
    *,
    branches: int = 2,
    reduction: int = 16,
    least: int = 32,
    split: bool = False,
    skip: Collection[str] = (),
) -> Outcome:
    """Replace the 3x3 convolutions of the net's units by selective kernels with fresh weights.

    branches   convolutions in the place of one, at dilation 1, 2, ...: they see 3x3, 5x5, ... pixels
    reduction  divides the channels on the way to the choice, but to `least` of them at least
    split      each branch sees an equal share of the input channels: about the cost of one convolution
    skip       names of convolutions, or of modules, to leave alone

    Raises: UsageError unless branches is at least 2, reduction and least at least 1.
    """
    SelectiveKernel(branches, 1, branches=branches, reduction=reduction, least=least)  # refuses options that cannot be
    inside = [name for unit in units(model) for name in unit.names]

    def decide(name: str, layer: nn.Module) -> nn.Module | Keep:
        holder = owner(model, name)
        if holder is not None:
            return Keep(f"a part of {holder}")
        if not isinstance(layer, nn.Conv2d):
            return Keep(f"a {type(layer).__name__} is not a plain convolution")
        if not is_skipped(name, inside):
            return Keep("it is in no unit: the stem, or a part with a forward of its own")
        reason = unusual(layer) or why_not(layer, branches if split else 1)
        if reason is not None:
            return Keep(reason)
        return selective(layer, branches, reduction, least, split)

    return replace(model, _ConvNd, decide, skip, lambda old, new: kernel_price(cast(SelectiveKernel, new)) - price_of(old))


def why_not(layer: nn.Conv2d, shares: int) -> str | None:
    """Why a convolution cannot become a selective kernel whose branches see one of `shares` of its input; None when it can."""
    if layer.kernel_size != (3, 3):
        return f"its kernel is {layer.kernel_size[0]}x{layer.kernel_size[1]}, not 3x3"
    if layer.groups > 1 and layer.groups == layer.in_channels:
        return "it is depthwise"
    if layer.dilation != (1, 1) or layer.padding != (1, 1) or layer.stride[0] != layer.stride[1]:
        return "its padding, dilation or stride is not that of a plain 3x3 convolution"
    if layer.out_channels == 1:
        return "it gives a single map, no features"
    if layer.in_channels % (shares * layer.groups):
        return f"its {layer.in_channels} input channels do not split into {shares} shares of {layer.groups} groups"
    return None


def selective(conv: nn.Conv2d, branches: int, reduction: int, least: int, split: bool) -> SelectiveKernel:
    """A selective kernel for the place of `conv`, with fresh weights."""
    new = SelectiveKernel(
        conv.in_channels,
        conv.out_channels,
        stride=conv.stride[0],
        groups=conv.groups,
        branches=branches,
        reduction=reduction,
        least=least,
        split=split,
        bare=True,
        bias=conv.bias is not None,
    )
    he_normal(new.paths, gain=math.sqrt(2 * branches))  # the mean of M maps has 1 / M of the variance of one
    he_normal(new.reduce)
    he_normal(new.select, gain=EVEN)
    new.to(device=conv.weight.device, dtype=conv.weight.dtype)
    return new.requires_grad_(conv.weight.requires_grad)


def kernel_price(layer: SelectiveKernel) -> Price:
    """Convolutions at each pixel, two small matrices an image."""
    return price_of(layer.paths) + Price(
        params=sum(p.numel() for small in (layer.reduce, layer.select) for p in small.parameters()),
        fixed=layer.reduce.weight.numel() + sum(p.numel() for p in layer.select.parameters()),
    )
