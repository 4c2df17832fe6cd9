"""Add a shortcut around each unit of a plain net: its input is added to what it computes, or lies beside it.

    add      y = act(f(x) + s(x))          s: identity; where the shape changes a strided slice with zeros, or a 1x1 convolution
    concat   y = [s(x); act(f(x))]         the next layer reads both

Source: He et al. 2015, Deep residual learning, https://arxiv.org/abs/1512.03385. Card: skip.md
"""

import math
from collections import OrderedDict
from collections.abc import Collection
from typing import Literal

import torch
from torch import nn

from ..nn import Concat, LastChannels, PadShortcut, ProjectionShortcut, Sum
from ._behind import he_normal, is_normed
from ._check import check_choice
from ._registry import edits
from ._shortcuts import Plan, chained, divides, refit
from ._units import Unit, role
from .price import Price, price_of
from .surgery import Outcome, brief
from .widen import last_layers

Mode = Literal["add", "concat"]
Shortcut = Literal["identity", "pad", "project"]


@edits(exact=False, needs=(), reduces=(), paper="arxiv:1512.03385", first=True)
def skip(model: nn.Module, *, mode: Mode = "add", shortcut: Shortcut = "pad", skip: Collection[str] = ()) -> Outcome:
    """Add a shortcut around every unit that has none: a convolution with its norm and activation, or a block.

    The sum comes before the activation of the unit. Where the shape changes, `shortcut` decides: "identity" leaves such units
    alone, "pad" takes every stride-th pixel and fills new channels with zeros, "project" has a 1x1 convolution. For "concat" the
    input of the unit itself is carried, not what was already carried to it, and the next unit, or the classifier, takes more
    channels. `skip` holds names of units, or of modules, to leave alone.

    Raises: UsageError for another `mode` or `shortcut`.
    """
    check_choice("mode of skip", mode, Mode)
    check_choice("shortcut", shortcut, Shortcut)
    plan = Plan(model, skip)
    if mode == "add":
        _add(plan, model, shortcut)
    else:
        _concat(plan, model, shortcut)
    return plan.done()


def _add(plan: Plan, model: nn.Module, kind: Shortcut) -> None:
    branches = []  # those of a net without norms start smaller, so that the sum of all keeps its scale
    scale = not is_normed(model)
    for unit in plan.units:
        if (reason := _no_way(plan, unit, unit.out_channels, kind)) is not None:
            plan.keep(unit, reason)
            continue
        count = len(unit.names)
        if count > 1 and role(plan.parts(unit)[-1]) == "activation":
            count -= 1
        branches.append(unit)

        def make(parts: list[nn.Module], unit: Unit = unit) -> nn.Module:
            if scale:
                _shrink(parts, 1 / math.sqrt(len(branches)))
            return Sum(OrderedDict(residual=chained(parts), shortcut=_carrier(model, unit, unit.out_channels, kind)))

        carrier, price = _priced(model, unit, unit.out_channels, kind)
        plan.wrap(unit, count, make, f"with {carrier} added", price)


def _concat(plan: Plan, model: nn.Module, kind: Shortcut) -> None:
    for unit in plan.units:
        carried = unit.in_channels
        reason = _no_way(plan, unit, carried, kind)
        readers = plan.behind(unit)
        if reason is None and plan.is_shared([*plan.parts(unit), *readers.values()]):
            reason = "it, or what reads it, hangs in two places"
        if reason is not None:
            plan.keep(unit, reason)
            continue
        same = refit(readers, unit.out_channels, unit.out_channels)
        fit = refit(readers, unit.out_channels, unit.out_channels + carried)
        if same is None or same.sizes:
            plan.keep(unit, "what reads it lies outside its chain, or takes maps of one size only")
        elif fit is None or fit.out != same.out or not fit.sizes:
            plan.keep(unit, "what reads it cannot take more channels and give as many as before")
        else:
            wide = plan.is_resized(unit)
            plan.resize(fit)

            def make(parts: list[nn.Module], unit: Unit = unit, wide: bool = wide) -> nn.Module:
                carrier = _carrier(model, unit, unit.in_channels, kind)
                if wide:
                    last = LastChannels(unit.in_channels)
                    carrier = last if isinstance(carrier, nn.Identity) else chained([last, carrier])
                return Concat(OrderedDict(shortcut=carrier, computed=chained(parts)))

            carrier, price = _priced(model, unit, carried, kind)
            plan.wrap(unit, len(unit.names), make, f"with {carrier} beside it", price)


def _no_way(plan: Plan, unit: Unit, out_channels: int, kind: Shortcut) -> str | None:
    """Why a shortcut of this kind cannot go around a unit and give so many channels; None where it can."""
    if not divides(plan.parts(unit), unit):
        return "its map is not that of its input divided by a whole stride"
    if unit.stride == 1 and unit.in_channels == out_channels:
        return None
    if kind == "identity":
        return "its output has another shape than its input"
    if kind == "pad" and unit.in_channels > out_channels:
        return f"a shortcut without weights drops no channels, and this one goes from {unit.in_channels} to {out_channels}"
    return None


def _carrier(model: nn.Module, unit: Unit, out_channels: int, kind: Shortcut) -> nn.Module:
    """What brings the input of a unit to its output."""
    new: nn.Module
    if unit.stride == 1 and unit.in_channels == out_channels:
        new = nn.Identity()
    elif kind == "pad":
        new = PadShortcut(unit.in_channels, out_channels, stride=unit.stride)
    elif is_normed(model):
        new = ProjectionShortcut(unit.in_channels, out_channels, stride=unit.stride)
    else:
        new = nn.Conv2d(unit.in_channels, out_channels, 1, stride=unit.stride, bias=False)
    he_normal(new, gain=1.0)  # no activation of its own
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return new.to(device=like.device, dtype=like.dtype).train(model.training)


def _priced(model: nn.Module, unit: Unit, out_channels: int, kind: Shortcut) -> tuple[str, Price]:
    """A shortcut in words, and what it costs."""
    with torch.random.fork_rng(devices=[]):
        carrier = _carrier(model, unit, out_channels, kind)
    told = "its input" if isinstance(carrier, nn.Identity) else ", ".join(
        brief(part) for part in (carrier if isinstance(carrier, nn.Sequential) else [carrier])
    )  # fmt: skip
    return told, price_of(carrier)


@torch.no_grad()
def _shrink(parts: list[nn.Module], factor: float) -> None:
    """Multiply what a branch without norms gives, by its last layers."""
    chain = nn.Sequential(*parts)
    for name in last_layers(chain):
        layer = chain.get_submodule(name)
        for tensor in layer.parameters(recurse=False):
            tensor.mul_(factor)
