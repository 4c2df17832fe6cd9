"""Flatten convolutions: each dense filter becomes a lateral, a vertical and a horizontal one.

    C_out x (C_in x k x k)  ->  C_out x (C_in x 1 x 1), then for each channel (k x 1), then (1 x k)
    weights   C_in C_out k^2  ->  C_out (C_in + k + k)

Source: Jin, Dundar and Culurciello 2014, https://arxiv.org/abs/1412.5474. Card: flatten_conv.md
"""

from collections.abc import Collection
from typing import Any

from torch import nn

from ..errors import UsageError
from ..nn import FlattenedConv2d
from ._dense_convs import DenseConvs
from ._fresh import arguments, built, gain_of, why_not
from ._registry import edits
from .price import Price, price_of
from .surgery import Keep, Outcome, replace

MOST_STAGES = 4


@edits(exact=False, needs=(), reduces=("params", "macs"), paper="arxiv:1412.5474", first=True)
def flatten_conv(model: nn.Module, *, stages: int = 1, skip: Collection[str] = ()) -> Outcome:
    """Put three one-dimensional convolutions in the place of each dense one; fresh weights, on the scale of the old.

    stages    how many times: the paper takes two, the second on the output of the first
    skip      names of layers, or of modules, to leave alone

    Kept, with the reason: grouped convolutions, the one that gives the answer, kernels of one direction, and what would not get
    cheaper.

    Raises: UsageError unless `stages` is 1 to 4.
    """
    if isinstance(stages, bool) or not isinstance(stages, int) or not 1 <= stages <= MOST_STAGES:
        raise UsageError(f"flatten_conv: stages is a whole number from 1 to {MOST_STAGES}, got {stages!r}")
    convs = DenseConvs(model)

    def decide(name: str, layer: Any) -> nn.Module | Keep:
        reason = why_not(name, layer, convs)
        kernel = "x".join(map(str, layer.kernel_size))
        if reason is None and stages > 1 and any(d * (k - 1) % 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)):
            reason = f"its even kernel {kernel} would shift the map in a second stage"
        if reason is not None:
            return Keep(reason)

        new = built(layer, lambda: _flattened(layer, stages), lambda new: _gains(new, gain_of(layer)))
        (down, across), cost = layer.stride, _price(layer, new)
        if cost.output + across * cost.tall + down * across * cost.input >= 0:
            return Keep(f"its kernel {kernel} at stride {layer.stride[0]} would not get cheaper")
        return new

    return replace(model, nn.Conv2d, decide, skip, _price)


def _flattened(layer: Any, stages: int) -> nn.Module:
    """The first stage has the stride and the padding of the layer, those behind it keep the size."""
    kernel, dilation = layer.kernel_size, layer.dilation
    first = FlattenedConv2d(kernel_size=kernel, dilation=dilation, **arguments(layer))
    if stages == 1:
        return first
    keeping = {
        **arguments(layer), "in_channels": layer.out_channels, "stride": 1,
        "padding": (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2),
    }  # fmt: skip
    more = (FlattenedConv2d(kernel_size=kernel, dilation=dilation, **keeping) for _ in range(stages - 1))
    return nn.Sequential(first, *more)


def _gains(new: nn.Module, gain: float) -> dict[nn.Conv2d, float]:
    """Nothing stands between the steps, so each passes energy on as it is and the last one has the gain of the layer."""
    convs = [step for step in new.modules() if isinstance(step, nn.Conv2d)]
    return {conv: gain if conv is convs[-1] else 1.0 for conv in convs}


def _price(old: Any, new: nn.Module) -> Price:
    """The lateral step works at every pixel of the input, the first vertical one on H' x W pixels, all others at the output."""
    lateral, vertical, *others = (step.weight.numel() for step in new.modules() if isinstance(step, nn.Conv2d))
    return Price(
        params=price_of(new).params - price_of(old).params,
        input=lateral,
        tall=vertical,
        output=sum(others) - old.weight.numel(),
    )
