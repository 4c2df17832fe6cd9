"""Split dense convolutions in two steps: each channel filtered on its own, then the channels mixed by 1x1.

    k x k, C_in -> C_out    becomes    k x k depthwise, [batch norm,] [ReLU,] 1x1, C_in -> C_out
    weights and MACs        k^2 C_in + C_in C_out    instead of    k^2 C_in C_out:  1/C_out + 1/k^2 of them

Source: Howard et al. 2017, MobileNets, https://arxiv.org/abs/1704.04861, section 3.1; Sifre 2014. Card: separate.md
"""

import math
from collections import OrderedDict
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from ._dense_convs import DenseConvs, follow, rms
from ._registry import edits
from .price import price_of
from .surgery import Keep, Outcome, replace

FEW = 4  # inputs: an image, or not much more


@edits(exact=False, needs=(), reduces=("params", "macs"), paper="arxiv:1704.04861", first=True)
def separate(model: nn.Module, *, norm: bool = True, activation: bool = True, skip: Collection[str] = ()) -> Outcome:
    """Put a depthwise and a pointwise convolution in the place of every dense 2-D convolution larger than 1x1.

    `norm` puts a BatchNorm2d between the two, `activation` a ReLU: both as in MobileNet. What followed the convolution follows
    the pair. Stride, padding and dilation go to the depthwise step, the bias to the pointwise one. The weights are fresh, on
    the scale of the old ones. `skip` holds names of convolutions, or of modules, to leave alone.

    Kept, with the reason: grouped and 1x1 convolutions, those that read at most 4 channels, the one that gives the answer,
    those whose weights are parametrised, shared or read from outside, and what would not shrink.
    """
    convs = DenseConvs(model)

    def decide(name: str, layer: Any) -> nn.Module | Keep:
        reason = convs.why_not(name)
        if reason is not None:
            return Keep(reason)
        if max(layer.kernel_size) == 1:
            return Keep("its kernel is 1x1: it mixes channels and nothing else")
        if layer.in_channels <= FEW:
            return Keep(f"it reads {layer.in_channels} channels, and would filter each in one way only")
        new = separated(layer, norm=norm, activation=activation)
        cost, old = price_of(new).output, layer.weight.numel()
        if cost >= old:
            return Keep(f"two steps cost {cost:,} MACs for a pixel of the output, the layer {old:,}")
        return follow(new, layer)

    return replace(model, nn.Conv2d, decide, skip, price=lambda old, new: price_of(new) - price_of(old))


@torch.no_grad()
def separated(layer: Any, *, norm: bool, activation: bool) -> nn.Sequential:
    """The two steps with fresh weights, which keep the mean square of the outputs.

    depthwise   N(0, g^2 / k^2),     g^2 = 2 before a ReLU, which halves the mean square, else 1
    pointwise   N(0, k^2 w^2),       w the root mean square of the old weights
    """
    like: Any = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    channels, area = layer.in_channels, math.prod(layer.kernel_size)
    depthwise = nn.Conv2d(
        channels, channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation, channels,
        bias=activation and not norm, padding_mode=layer.padding_mode, **like,
    )  # fmt: skip
    pointwise = nn.Conv2d(channels, layer.out_channels, 1, bias=layer.bias is not None, **like)
    nn.init.normal_(depthwise.weight, std=math.sqrt((2 if activation else 1) / area))
    nn.init.normal_(pointwise.weight, std=math.sqrt(area)).mul_(rms(layer.weight))
    if depthwise.bias is not None:
        nn.init.zeros_(depthwise.bias)
    steps: OrderedDict[str, nn.Module] = OrderedDict(depthwise=depthwise)
    if norm:
        steps["norm"] = nn.BatchNorm2d(channels, **like)
    if activation:
        steps["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(OrderedDict(**steps, pointwise=pointwise))
