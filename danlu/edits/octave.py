"""Octave convolutions: a share alpha of the channels is computed on maps of half the height and width.

    y = [f(h; W_hh) + up(f(l; W_lh));  up(f(l; W_ll) + f(pool(h); W_hl))]     h: the first channels, l: the pooled last ones

The weights are those of the plain convolution, cut in four. At stride 1 its MACs fall to the share

    1 - 3/4 (1 - (1 - alpha)^2)       alpha 1/4: 67 %, 1/2: 44 %, 3/4: 30 %

Source: Chen et al. 2019, Drop an octave, https://arxiv.org/abs/1904.05049. Card: octave.md
Differs: maps are joined again behind each layer, so that any layer may stand between; see the card for what that costs.
"""

import math
from collections.abc import Collection
from typing import cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ..errors import UsageError
from ..nn import OctaveConv2d
from ..nn.octave import PATHS, low_channels
from ._owner import owner, unusual
from ._registry import edits
from .price import Price, price_of
from .surgery import Keep, Outcome, replace


@edits(exact=False, needs=(), reduces=("macs",), paper="arxiv:1904.05049", first=True)
def octave(model: nn.Module, *, alpha: float = 0.5, pointwise: bool = False, skip: Collection[str] = ()) -> Outcome:
    """Replace dense kxk convolutions that keep or halve the size of their map by octave ones; the weights carry over.

    `alpha` is the share of low channels of each input and output, rounded down. With `pointwise` 1x1 convolutions become
    octave ones too, as in the paper. Kept: the first convolution, which reads the image; grouped ones; even kernels and
    paddings that change the size of the map; strides above 2. `skip` holds names of layers, or of modules, to leave alone.

    Raises: UsageError unless 0 < alpha < 1.
    """
    if isinstance(alpha, bool) or not 0 < alpha < 1:
        raise UsageError(f"octave: alpha is the share of channels at half size, between 0 and 1, got {alpha}")
    first = next((name for name, module in model.named_modules() if isinstance(module, _ConvNd)), None)

    def decide(name: str, module: nn.Module) -> nn.Module | Keep:
        conv = cast(nn.Conv2d, module)
        if name == first:
            return Keep("it reads the image, whose channels have no low part")
        holder = owner(model, name)
        if holder is not None:
            return Keep(f"a part of {holder}")
        reason = unusual(conv) or _why_not(conv, alpha, pointwise)
        return Keep(reason) if reason else octave_of(conv, alpha)

    return replace(model, nn.Conv2d, decide, skip, price)


def _why_not(conv: nn.Conv2d, alpha: float, pointwise: bool) -> str | None:
    """Why a plain convolution is no octave one, or None."""
    kernel, stride, dilation = conv.kernel_size, conv.stride, conv.dilation
    padding = cast(tuple[int, ...], conv.padding)
    if conv.groups > 1:
        return f"its {conv.groups} groups do not mix high and low channels"
    if max(kernel) == 1 and not pointwise:
        return "a 1x1 convolution, left alone unless pointwise=True"
    if stride not in ((1, 1), (2, 2)):
        return f"its stride is {stride[0]}x{stride[1]}, not 1 or 2"
    same = all(k % 2 == 1 and 2 * p == d * (k - 1) for k, p, d in zip(kernel, padding, dilation, strict=True))
    if not same:
        return "its kernel and padding do not keep the size of the map"
    if min(int(alpha * conv.in_channels), int(alpha * conv.out_channels)) == 0:
        return f"alpha={alpha:g} leaves no low one of its {conv.in_channels} -> {conv.out_channels} channels"
    return None


def octave_of(conv: nn.Conv2d, alpha: float) -> OctaveConv2d:
    """The joined octave convolution with the weights of a plain one, cut in four, and its bias, cut in two."""
    new = OctaveConv2d(
        conv.in_channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        alpha_in=alpha,
        alpha_out=alpha,
        stride=conv.stride[0],
        dilation=(conv.dilation[0], conv.dilation[1]),
        bias=conv.bias is not None,
        joined=True,
    ).to(conv.weight)
    in_cut = conv.in_channels - low_channels(conv.in_channels, alpha)
    out_cut = conv.out_channels - low_channels(conv.out_channels, alpha)
    inputs = {"high": slice(None, in_cut), "low": slice(in_cut, None)}
    outputs = {"high": slice(None, out_cut), "low": slice(out_cut, None)}
    with torch.no_grad():
        for path in PATHS:
            source, _, target = path.partition("_")
            part = cast(nn.Conv2d, getattr(new, path))
            part.weight.copy_(conv.weight[outputs[target], inputs[source]])
            part.weight.requires_grad_(conv.weight.requires_grad)
            if conv.bias is not None and part.bias is not None:
                part.bias.copy_(conv.bias[outputs[target]])
                part.bias.requires_grad_(conv.bias.requires_grad)
    return new


def price(old: nn.Module, new: nn.Module) -> Price:
    """The change from the plain convolution: no parameters, and of the four paths those on low maps are paid there."""
    layer = cast(OctaveConv2d, new)
    paths = {path: math.prod(getattr(layer, path).weight.shape) for path in PATHS}
    high = paths["high_high"] + (paths["low_high"] if layer.stride == 2 else 0)  # the low map has the size of the new high one
    params = sum(parameter.numel() for parameter in new.parameters())
    return Price(params=params, output=high, halved=sum(paths.values()) - high) - price_of(old)
