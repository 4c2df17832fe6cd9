"""Deepen a stage of a net: more units like its last one that keeps the shape of its map.

    params + by * params(unit)        MACs + by * MACs(unit)

Source: Simonyan and Zisserman 2014, Very deep convolutional networks, https://arxiv.org/abs/1409.1556. Card: deepen.md
"""

import copy
import itertools
from collections.abc import Collection
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ._maps import _without_data, with_stride
from ._registry import edits
from ._resize import Resizing, apply, price_on
from ._stages import ExitsStay, rechain, units_of
from ._trace import FORWARD_ERRORS, first_tensor
from ._units import Unit
from .price import Price
from .surgery import Change, Outcome, brief, count_params

SIDE = 32  # pixels of a map that a unit is tried on


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1409.1556", first=True)
def deepen(model: nn.Module, *, stage: int, by: int = 1, skip: Collection[str] = ()) -> Outcome:
    """Put `by` fresh copies behind the last unit of the stage whose output has the shape of its input.

    Stages count from 1; another one begins where the map changes its size. In a stage without such a unit its last one is
    copied, made to take as many channels as it gives, at stride 1. Weights are drawn at the scale of the unit's own. `skip`
    holds names of units, or of modules, not to copy.

    Raises: UsageError for a stage that the net does not have, or `by` below 1.
    """
    members, kept = units_of(model, stage, by, skip)
    new = copy.deepcopy(model)
    outcome = Outcome(new, kept=kept)
    unit = next((unit for unit in reversed(members) if unit.keeps_shape), None)
    parts = [model.get_submodule(name) for name in unit.names] if unit is not None else None
    if unit is not None and parts is not None:
        price = Price(count_params(nn.ModuleList(parts)), like=tuple((name, 1) for name in unit.names))
    elif members and (parts := _square(model, members[-1])) is not None:
        unit = members[-1]
        price = _price(parts, unit)
    if unit is None or parts is None:
        outcome.kept += [(member.names[0], "its output has another shape than its input") for member in members]
        outcome.params = (count_params(model),) * 2
        return outcome
    with ExitsStay(new):
        chain = new.get_submodule(unit.parent)
        items = list(chain._modules.items())
        keys = [key for key, _ in items[unit.first : unit.last + 1]]
        free = (n for n in itertools.count(2) if not any(f"{key}_{n}" in chain._modules for key in keys))
        fresh = [(f"{key}_{n}", part) for n in itertools.islice(free, by) for key, part in zip(keys, _drawn(parts), strict=True)]
        rechain(chain, [*items[: unit.last + 1], *fresh, *items[unit.last + 1 :]])
    name = unit.names[-1]
    before = brief(model.get_submodule(name))
    said = ", ".join(brief(part) for part in parts)
    outcome.changed.append(Change(name, before, f"{before}, then {by} x [{said}]", sum([price] * by, Price())))
    outcome.params = (count_params(model), count_params(new))
    return outcome


def _square(model: nn.Module, unit: Unit) -> list[nn.Module] | None:
    """A copy of a unit that takes as many channels as it gives, at stride 1; None where its shape still changes."""
    parts = nn.Sequential(*(copy.deepcopy(model.get_submodule(name)) for name in unit.names))
    for module in parts.modules():
        if hasattr(module, "stride") and hasattr(module, "in_channels"):
            with_stride((1, 1))(module)
    shadow = _without_data(parts).eval()
    run = Resizing(shadow, lambda _, channels: channels)
    x = _map(parts, unit.out_channels)
    try:
        with torch.no_grad():
            y = first_tensor(shadow(x))
    except FORWARD_ERRORS:
        return None
    if y is None or y.shape != x.shape:
        return None
    apply(parts, run.found)
    return list(parts)


def _map(parts: nn.Module, channels: int) -> Tensor:
    """A map without data for a chain of layers."""
    like = next(parts.parameters(), torch.empty(0))
    return torch.empty(1, channels, SIDE, SIDE, dtype=like.dtype, device="meta")


def _price(parts: list[nn.Module], unit: Unit) -> Price:
    """The price of a new unit at each pixel of the map that the unit in front of it gives."""
    chain = nn.Sequential(*parts)
    price = price_on(chain, (_map(chain, unit.out_channels),))
    larger = unit.stride**2 if len(unit.names) == 1 else 1  # what a layer gives is so much smaller than what it takes
    return Price(price.params, output=price.input, pairs=Fraction(price.pairs) / larger**2, fixed=price.fixed)


@torch.no_grad()
def _drawn(parts: list[nn.Module]) -> list[nn.Module]:
    """Copies with fresh weights: matrices and filters drawn with the spread of the old ones; scales, shifts and biases copied."""
    copies = copy.deepcopy(parts)
    for part in copies:
        for tensor in part.parameters():
            if tensor.dim() > 1 and not tensor.is_meta:
                tensor.normal_(std=tensor.std().item() if tensor.numel() > 1 else 0.0)
        for module in part.modules():
            if isinstance(module, _BatchNorm):
                module.reset_running_stats()
    return copies
