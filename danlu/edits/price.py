"""What an edit says it changes in parameters and MACs, as closed formulas, before anything is built or measured.

    MACs of a layer = output * H'W' + halved * ceil(H'/2) ceil(W'/2) + tall * H'W + input * HW + fixed
                      + pairs * (HW)^2 + output_pairs * (H'W')^2 + halved_pairs * H'W' ceil(H'/2) ceil(W'/2)

for an input map of H x W and an output map of H' x W': a convolution costs C_out C_in / groups k_h k_w at each pixel of its
output, a squeeze-and-excitation 2 C^2 / r once an image, an attention over all pixels something for each pair of them. A
`Change` carries the price of the new layer less that of the old one; `predict` sums the prices of an outcome over the maps
that the net has at an input size. The contract suite holds that sum to the measured change.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ._trace import FORWARD_ERRORS, evaluating, first_tensor

if TYPE_CHECKING:
    from .surgery import Outcome

Number = int | Fraction


@dataclass(frozen=True)
class Price:
    """Parameters, and MACs as a polynomial in the pixels of the maps; `like` adds or takes away what whole modules cost.

    output   MACs for each pixel of the output map
    halved   MACs for each pixel of a map half as high and wide as the output, rounded up
    tall     MACs for each pixel of a map as high as the output and as wide as the input: between a column and a row
    input    MACs for each pixel of the input map
    pairs    MACs for each pair of pixels of the input map; output_pairs: of the output map; halved_pairs: of a pixel of the
             output map and one of the map half as high and wide
    fixed    MACs for each image
    like     ((name of a module of the net before, how often), ...): the MACs of a copy of it, negative for one taken away.
             The module's parameters are not among `params` by themselves: add them there.

    Fractions stand for maps of another size: Fraction(1, 4) for a map of half the height and width.
    """

    params: int = 0
    output: Number = 0
    halved: Number = 0
    tall: Number = 0
    input: Number = 0
    pairs: Number = 0
    output_pairs: Number = 0
    halved_pairs: Number = 0
    fixed: Number = 0
    like: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: "Price") -> "Price":
        """Both together."""
        return Price(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)})

    def __neg__(self) -> "Price":
        """What is saved where this goes."""
        numbers = {field.name: -getattr(self, field.name) for field in fields(self) if field.name != "like"}
        return Price(**numbers, like=tuple((name, -times) for name, times in self.like))

    def __sub__(self, other: "Price") -> "Price":
        """The change from `other` to this."""
        return self + -other


def price_of(module: nn.Module) -> Price:
    """The price of a layer of torch.nn, or of a chain of them whose convolutions all work at the size of the chain's output.

    A transposed convolution costs its filter at each pixel of its input, a linear layer its matrix once for each row;
    norms, activations and pools have parameters at most.
    """
    params = sum(parameter.numel() for parameter in module.parameters())
    price = Price(params=params)
    for layer in module.modules():
        if isinstance(layer, _ConvTransposeNd):
            price += Price(input=layer.weight.numel())
        elif isinstance(layer, _ConvNd | nn.Linear):
            price += Price(output=layer.weight.numel())
    return price


def predict(model: nn.Module, outcome: "Outcome", shape: Sequence[int]) -> tuple[int, int]:
    """(change of parameters, change of MACs of one image) that the changes of `outcome` promise for inputs [C, H, W].

    `model` is the net before the edit, `outcome` that of one edit called as a function. A module that the forward calls
    twice is paid twice in MACs. Only shapes are run, on the meta device.
    """
    prices = {change.name: change.price for change in outcome.changed if change.price is not None}
    calls = _maps(model, prices, shape)
    macs: Number = 0
    for name, price in prices.items():
        for into, out, half, tall in calls[name]:
            macs += price.output * out + price.halved * half + price.tall * tall + price.input * into + price.fixed
            macs += price.pairs * into * into + price.output_pairs * out * out + price.halved_pairs * out * half
    likes = [pair for price in prices.values() for pair in price.like]
    if likes:
        from ..cost import profile

        rows = profile(model, tuple(shape)).rows
        for like, times in likes:
            macs += times * sum(row.macs for row in rows if row.name == like or row.name.startswith(f"{like}."))
    return sum(price.params for price in prices.values()), round(macs)


class Maps(NamedTuple):
    """Pixels of a module's input and output, of its output at half the size, and of a map as high as the output, as wide as the
    input."""

    into: int
    out: int
    half: int
    tall: int


def _maps(model: nn.Module, names: Iterable[str], shape: Sequence[int]) -> dict[str, list[Maps]]:
    """The maps of each named module, at each of its calls."""
    try:
        return _recorded(copy.deepcopy(model).to("meta"), names, shape)
    except FORWARD_ERRORS:  # a forward that branches on values needs some
        return _recorded(copy.deepcopy(model), names, shape)


def _recorded(net: nn.Module, names: Iterable[str], shape: Sequence[int]) -> dict[str, list[Maps]]:
    calls: dict[str, list[Maps]] = {name: [] for name in names}

    def hook(name: str) -> Any:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            into, out = first_tensor(args), first_tensor(output)
            if into is not None and out is not None:
                tall = len(out) * out.shape[2] * into.shape[3] if out.dim() == into.dim() == 4 else 0
                found = Maps(_pixels(module, into), _pixels(module, out), _pixels(module, _halved(out)), tall)
                calls[name].append(found)

        return record

    for name in calls:
        net.get_submodule(name).register_forward_hook(hook(name))
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    with evaluating(net), torch.no_grad():
        net(torch.zeros(1, *shape, dtype=like.dtype, device=like.device))
    return calls


def _halved(x: Tensor) -> Tensor:
    """A map of half the height and width, rounded up; anything else as it is. Shape: [B, C, H, W] -> [B, C, H', W']."""
    return x[:, :, ::2, ::2] if x.dim() == 4 else x


def _pixels(module: nn.Module, x: Tensor) -> int:
    """Places of a map [B, C, ...], those of all of B: one image may be many patches; for a linear layer [B, ..., F] its rows."""
    width = x.shape[-1] if isinstance(module, nn.Linear) else x.shape[1] if x.dim() > 1 else 1
    return x.numel() // width if width else 0
