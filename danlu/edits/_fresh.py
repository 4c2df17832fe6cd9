"""Several convolutions in the place of a large one: which may go, the scale that fresh weights need, and what carries over."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ._dense_convs import DenseConvs

HE = 2.0  # gain of a layer behind a ReLU: He et al. 2015, https://arxiv.org/abs/1502.01852


def why_not(name: str, layer: Any, convs: DenseConvs) -> str | None:
    """Why this convolution must stay; None for a dense one, larger than 1 on both sides, that nothing but its call needs."""
    reason = convs.why_not(name)
    if reason is None and min(layer.kernel_size) == 1:
        return f"its kernel {'x'.join(map(str, layer.kernel_size))} has no two directions to split"
    if reason is None and padding_of(layer) is None:
        return 'its padding="same" is not the same on both sides'
    return reason


def padding_of(layer: Any) -> tuple[int, int] | None:
    """The padding in numbers; None for a "same" that differs from side to side."""
    if isinstance(layer.padding, tuple):
        return layer.padding
    if layer.padding == "valid":
        return 0, 0
    reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return (reach[0] // 2, reach[1] // 2) if all(r % 2 == 0 for r in reach) else None


def shrinkage(layer: Any) -> int:
    """(H - H') (W - W') at stride 1, what a layer without enough padding takes from both axes; 0 at any other stride."""
    if layer.stride != (1, 1):
        return 0
    around = padding_of(layer) or (0, 0)
    high, wide = (d * (k - 1) - 2 * p for d, k, p in zip(layer.dilation, layer.kernel_size, around, strict=True))
    return high * wide


def gain_of(layer: Any) -> float:
    """Inputs of a filter times the mean square of its weights: the factor by which it multiplies the energy of its input.

    He's 2 where the weights say nothing: on the meta device, or all zero.
    """
    weight = layer.weight.detach()
    if weight.is_meta:
        return HE
    gain = weight[0].numel() * weight.double().square().mean().item()
    return gain if math.isfinite(gain) and gain > 0 else HE


@torch.no_grad()
def built(layer: Any, make: Callable[[], nn.Module], gains: Callable[[nn.Module], dict[nn.Conv2d, float]]) -> nn.Module:
    """What `make` gives, as `layer` is: its device, its type, its gradient flags; its bias on the last convolution.

    `gains` says how much energy each new convolution passes on; weights are drawn from N(0, gain / inputs of a filter).
    """
    with torch.device(layer.weight.device):
        new = make().to(layer.weight.dtype)
    drawn = gains(new)
    for conv, gain in drawn.items():
        conv.weight.normal_(0, math.sqrt(gain / conv.weight[0].numel()))
        if conv.bias is not None:
            conv.bias.zero_()
    new.requires_grad_(layer.weight.requires_grad)
    last = list(drawn)[-1]
    if layer.bias is not None and last.bias is not None:
        last.bias.copy_(layer.bias)
        last.bias.requires_grad_(layer.bias.requires_grad)
    return new


def arguments(layer: Any) -> dict[str, Any]:
    """The arguments that a convolution and the layers in its place have in common."""
    return {
        "in_channels": layer.in_channels, "out_channels": layer.out_channels, "stride": layer.stride,
        "padding": padding_of(layer), "bias": layer.bias is not None, "padding_mode": layer.padding_mode,
    }  # fmt: skip
