"""Replace large filters by small ones that see the same pixels.

    asymmetric    k x k  ->  k x 1, 1 x k                  weights  m k (C_in + C_out),  m = min(C_in, C_out)
    stack         k x k  ->  (k - 1) / 2 times 3x3         weights  9 m (C_in + (n - 2) m + C_out),  n = (k - 1) / 2

Source: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, section 3. Card: factorize_kernel.md
"""

from collections.abc import Collection
from fractions import Fraction
from typing import Any, Literal

from torch import nn

from ..nn import AsymmetricConv2d, StackedConv2d
from ..nn.factorized import Between
from ._check import check_choice
from ._dense_convs import DenseConvs
from ._fresh import HE, arguments, built, gain_of, shrinkage, why_not
from ._registry import edits
from .price import Price, price_of
from .surgery import Keep, Outcome, replace

Method = Literal["asymmetric", "stack"]
FEWEST = 8  # channels between the steps: with fewer, they would pass on less than the layer sees


@edits(exact=False, needs=(), reduces=("params", "macs"), paper="arxiv:1512.00567", first=True)
def factorize_kernel(
    model: nn.Module, *, method: Method = "asymmetric", between: Between = "relu", skip: Collection[str] = ()
) -> Outcome:
    """Put two or more small convolutions in the place of each large one; their weights are fresh, on the scale of the old.

    method    "asymmetric": a column and a row, for any kernel larger than 1 on both sides;
              "stack": as many 3x3 as see the same pixels, for odd square kernels of 5 and more
    between   the steps: "none", "relu", or "bn_relu", a batch norm and a ReLU
    skip      names of layers, or of modules, to leave alone

    Kept, with the reason: grouped convolutions, those that read or give fewer than 8 channels (the image), the one that gives
    the answer, kernels of one direction, and what would not get cheaper.

    Raises: UsageError for another `method` or `between`.
    """
    check_choice("method", method, Method)
    check_choice("between", between, Between)
    convs = DenseConvs(model)

    def decide(name: str, layer: Any) -> nn.Module | Keep:
        reason = why_not(name, layer, convs) or (_no_stack(layer) if method == "stack" else None)
        if reason is not None:
            return Keep(reason)
        hidden = min(layer.in_channels, layer.out_channels)
        if hidden < FEWEST:
            return Keep(f"{hidden} channels are too few to pass on between the steps")

        def make() -> nn.Module:
            if method == "stack":
                return StackedConv2d(kernel_size=layer.kernel_size[0], between=between, **arguments(layer))
            return AsymmetricConv2d(
                kernel_size=layer.kernel_size, dilation=layer.dilation, between=between, **arguments(layer)
            )  # fmt: skip

        new = built(layer, make, lambda new: _gains(new, gain_of(layer), between))
        # Places of the output in the place of pixels: what the layer costs for each of them, and what the new ones would.
        (down, across), cost = layer.stride, _price(layer, new)
        if cost.output + across * cost.tall + down * across * cost.input >= 0:
            return Keep(f"its kernel {'x'.join(map(str, layer.kernel_size))} at stride {layer.stride[0]} would not get cheaper")
        return new

    return replace(model, nn.Conv2d, decide, skip, _price)


def _no_stack(layer: Any) -> str | None:
    high, wide = layer.kernel_size
    if high != wide or high < 5 or high % 2 == 0:
        return f"3x3 layers add up to odd squares from 5x5; its kernel is {high}x{wide}"
    if max(layer.dilation) > 1:
        return f"its filter has holes (dilation {max(layer.dilation)}) that a stack would fill"
    return None


def _gains(new: nn.Module, gain: float, between: str) -> dict[nn.Conv2d, float]:
    """The last step has the gain of the layer; those before pass energy on, whatever stands behind them."""
    convs = [step for step in new.children() if isinstance(step, nn.Conv2d)]
    return {conv: gain if conv is convs[-1] else 1.0 if between == "none" else HE for conv in convs}


def _price(old: Any, new: nn.Module) -> Price:
    """Each step costs its weights at every pixel that it gives: a column before a row H' W. Stacked steps shrink the map evenly.

    With s the stride and d = H - H' = W - W' what a layer of stride 1 takes from the map (d = 0 at a stride), the map after a
    share t of a stack has (1 - t) H W + t s^2 H' W' - t (1 - t) d^2 pixels.
    """
    down, across = old.stride
    steps = [step for step in new.children() if isinstance(step, nn.Conv2d)]
    weights = [step.weight.numel() for step in steps]
    lost = shrinkage(old)
    price = Price(params=price_of(new).params - price_of(old).params, output=weights[-1] - old.weight.numel())
    for i, weight in enumerate(weights[:-1], 1):
        if isinstance(new, AsymmetricConv2d):
            price += Price(tall=weight)
        else:
            t = Fraction(i, len(steps))
            price += Price(input=weight * (1 - t), output=weight * t * down * across, fixed=-weight * t * (1 - t) * lost)
    return price
