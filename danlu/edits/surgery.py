"""The only place that swaps modules: it copies, honours shared layers, and records why each layer was kept."""

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..errors import UsageError, unknown
from .price import Price


@dataclass(frozen=True)
class Keep:
    """A decision to leave a layer alone, and why."""

    reason: str


@dataclass(frozen=True)
class Change:
    """One layer that an edit changed; a structure edit says with `price` what it predicts to change in cost."""

    name: str
    before: str
    after: str
    price: Price | None = None


@dataclass
class Outcome:
    """What an edit returns: a new model, what changed in it, and what was kept with the reason.

    `params` counts the parameters of the input model and of the new one; -1 where nobody counted.
    """

    model: nn.Module
    changed: list[Change] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    params: tuple[int, int] = (-1, -1)

    def __str__(self) -> str:
        before, after = self.params
        counted = f", parameters {before:,} -> {after:,} ({after / before - 1:+.1%})" if before > 0 and after != before else ""
        return f"{len(self.changed)} changed, {len(self.kept)} kept{counted}"


def count_params(model: nn.Module) -> int:
    """Numbers in the weights of `model`; a shared parameter counts once, an encoded weight as the tensor it stands for."""
    plain = sum(parameter.numel() for name, parameter in model.named_parameters() if "parametrizations." not in name)
    for module in model.modules():
        if parametrize.is_parametrized(module):
            with torch.no_grad():
                plain += sum(getattr(module, name).numel() for name in module.parametrizations)  # type: ignore[union-attr]
    return plain


def brief(module: nn.Module) -> str:
    """One line for a module, without its children."""
    text = f"{type(module).__name__}({module.extra_repr()})"
    return text if len(text) <= 100 else text[:97] + "..."


def named_slots(model: nn.Module) -> list[tuple[str, nn.Module, str, nn.Module]]:
    """Every place a module hangs: (full name, parent, attribute, module).

    A module hung in two places appears once per place; a parent hung in two places is entered once.
    """
    slots = []
    for parent_name, parent in model.named_modules():
        for key, child in parent._modules.items():
            if child is not None:
                slots.append((f"{parent_name}.{key}" if parent_name else key, parent, key, child))
    return slots


def set_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Hang `new` in every place of the module that now hangs at the dotted `name`, with its training flag."""
    old = model.get_submodule(name)
    for _, parent, key, child in named_slots(model):
        if child is old:
            parent._modules[key] = new
    new.train(old.training)


def check_skip(model: nn.Module, skip: Collection[str]) -> None:
    """Raise UsageError unless every entry of `skip` is the name of a module."""
    if isinstance(skip, str):
        raise UsageError(f"skip is a list of module names, e.g. [{skip!r}], got the text {skip!r}")
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for name in skip:
        if name not in names:
            raise unknown("module in skip", str(name), names)


def is_skipped(name: str, skip: Collection[str]) -> bool:
    """Whether `name`, or a module that it lies in, is named in `skip`."""
    return any(name == entry or name.startswith(entry + ".") for entry in skip)


def keep_what_was_computed(net: Any) -> None:
    """Let no activation of the net work in place, in place: one that now follows another would take from it its own output, which
    the gradient needs. For edits that take away, or put in, what lies between two activations."""
    for module in net.modules():
        if getattr(module, "inplace", False):
            module.inplace = False


def replace(
    model: nn.Module,
    kinds: type[nn.Module] | tuple[type[nn.Module], ...],
    decide: Callable[[str, nn.Module], nn.Module | Keep],
    skip: Collection[str] = (),
    price: Callable[[nn.Module, nn.Module], Price] | None = None,
) -> Outcome:
    """Copy `model` and put `decide(name, layer)` in the place of every layer of `kinds`.

    `decide` is called once per distinct layer, with the first name it goes by; a layer hung in two places is replaced by
    one new layer in both, so sharing survives. `skip` names layers to keep, or modules to keep whole. A replaced layer is
    not searched further. `price(old, new)` says what each replacement changes in cost (see price.py).
    """
    check_skip(model, skip)
    before = count_params(model)
    model = copy.deepcopy(model)
    outcome = Outcome(model)
    if isinstance(model, kinds):
        new = decide("", model)
        if isinstance(new, Keep):
            outcome.kept.append(("", new.reason))
        else:
            new.train(model.training)
            outcome.changed.append(Change("", brief(model), brief(new), price(model, new) if price else None))
            outcome.model = new
        outcome.params = (before, count_params(outcome.model))
        return outcome
    decided: dict[int, nn.Module | Keep] = {}
    inside: set[int] = set()
    placed: list[nn.Module] = []
    for name, parent, key, layer in named_slots(model):
        if id(layer) in inside or not isinstance(layer, kinds):
            continue
        if is_skipped(name, skip):
            outcome.kept.append((name, "named in skip"))
            continue
        if id(layer) not in decided:
            decided[id(layer)] = decide(name, layer)
            if not isinstance(decided[id(layer)], Keep):
                inside.update(id(module) for module in layer.modules() if module is not layer)
        verdict = decided[id(layer)]
        if isinstance(verdict, Keep):
            outcome.kept.append((name, verdict.reason))
        else:
            parent._modules[key] = verdict
            verdict.train(layer.training)
            # A layer that hangs in two places has two changes, and its new parameters once.
            paid = price(layer, verdict) if price else None
            first = not any(verdict is seen for seen in placed)
            placed.append(verdict)
            paid = paid if paid is None or first else Price()
            outcome.changed.append(Change(name, brief(layer), brief(verdict), paid))
    outcome.params = (before, count_params(model))
    return outcome
