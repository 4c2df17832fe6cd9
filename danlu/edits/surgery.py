"""The only place that swaps modules: it copies, honours shared layers, and records why each layer was kept."""

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class Keep:
    """A decision to leave a layer alone, and why."""

    reason: str


@dataclass(frozen=True)
class Change:
    """One layer that an edit changed."""

    name: str
    before: str
    after: str


@dataclass
class Outcome:
    """What an edit returns: a new model, what changed in it, and what was kept with the reason."""

    model: nn.Module
    changed: list[Change] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{len(self.changed)} changed, {len(self.kept)} kept"


def brief(module: nn.Module) -> str:
    """One line for a module, without its children."""
    text = f"{type(module).__name__}({module.extra_repr()})"
    return text if len(text) <= 100 else text[:97] + "..."


def named_slots(model: nn.Module) -> list[tuple[str, nn.Module, str, nn.Module]]:
    """Every place a module hangs: (full name, parent, attribute, module); a shared module appears once per place."""
    slots = []
    for parent_name, parent in model.named_modules():
        for key, child in parent._modules.items():
            if child is not None:
                slots.append((f"{parent_name}.{key}" if parent_name else key, parent, key, child))
    return slots


def set_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Hang `new` at the dotted `name`."""
    parent_name, _, key = name.rpartition(".")
    model.get_submodule(parent_name)._modules[key] = new


def replace(
    model: nn.Module,
    kinds: type[nn.Module] | tuple[type[nn.Module], ...],
    decide: Callable[[str, nn.Module], nn.Module | Keep],
    skip: Collection[str] = (),
) -> Outcome:
    """Copy `model` and put `decide(name, layer)` in the place of every layer of `kinds`.

    `decide` is called once per distinct layer, with the first name it goes by; a layer hung in two places is replaced by
    one new layer in both, so sharing survives. Layers named in `skip` are kept. A replaced layer is not searched further.
    """
    model = copy.deepcopy(model)
    outcome = Outcome(model)
    if isinstance(model, kinds):
        new = decide("", model)
        if isinstance(new, Keep):
            outcome.kept.append(("", new.reason))
            return outcome
        outcome.changed.append(Change("", brief(model), brief(new)))
        outcome.model = new
        return outcome
    decided: dict[int, nn.Module | Keep] = {}
    inside: set[int] = set()
    for name, parent, key, layer in named_slots(model):
        if id(layer) in inside or not isinstance(layer, kinds):
            continue
        if name in skip:
            outcome.kept.append((name, "named in skip"))
            continue
        if id(layer) not in decided:
            new = decide(name, layer)
            new_is_kept = isinstance(new, Keep)
            decided[id(layer)] = new
            if not new_is_kept:
                inside.update(id(m) for m in layer.modules() if m is not layer)
        verdict = decided[id(layer)]
        if isinstance(verdict, Keep):
            outcome.kept.append((name, verdict.reason))
        else:
            parent._modules[key] = verdict
            verdict.train(layer.training)
            outcome.changed.append(Change(name, brief(layer), brief(verdict)))
    return outcome
