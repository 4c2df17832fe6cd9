"""Shorten a stage of a net: take away its last units whose output has the shape of their input.

    params - sum of params(unit)        MACs - sum of MACs(unit)

Source: Veit et al. 2016, Residual networks behave like ensembles of relatively shallow networks, https://arxiv.org/abs/1605.06431:
a residual net survives the loss of a unit, a plain one does not. Card: shorten.md
"""

import copy
from collections.abc import Collection

from torch import nn

from ..errors import UsageError
from ._registry import edits
from ._stages import ExitsStay, rechain, units_of
from ._units import Unit
from .price import Price
from .surgery import Change, Outcome, brief, count_params, keep_what_was_computed


@edits(exact=False, needs=(), reduces=("params", "macs", "latency", "size"), paper="arxiv:1605.06431", first=True)
def shorten(model: nn.Module, *, stage: int, by: int = 1, skip: Collection[str] = ()) -> Outcome:
    """Take away the last `by` units of the stage whose input and output have one shape; what is left keeps its weights.

    Stages count from 1; another one begins where the map changes its size. `skip` holds names of units, or of modules, to
    keep.

    Raises: UsageError for a stage that the net does not have, `by` below 1, or more units than can go.
    """
    members, kept = units_of(model, stage, by, skip)
    can_go: list[Unit] = []  # the last unit first
    for unit in reversed(members):
        if not unit.keeps_shape:
            kept.append((unit.names[0], "its output has another shape than its input"))
        elif _is_all(model, unit, can_go):
            kept.append((unit.names[0], "its chain would be empty without it"))
        else:
            can_go.append(unit)
    if can_go and by > len(can_go):
        names = ", ".join(unit.names[0] for unit in reversed(can_go))
        raise UsageError(f"stage {stage} of this net can lose at most {len(can_go)} ({names}), got by={by}")
    new = copy.deepcopy(model)
    changed = []
    with ExitsStay(new):
        for unit in can_go[:by]:
            chain = new.get_submodule(unit.parent)
            items = list(chain._modules.items())
            before = count_params(new)
            rechain(chain, items[: unit.first] + items[unit.last + 1 :])
            said = ", ".join(brief(model.get_submodule(name)) for name in unit.names)
            price = Price(params=count_params(new) - before, like=tuple((name, -1) for name in unit.names))
            changed.append(Change(unit.names[-1], said, "gone", price))
    if changed:
        keep_what_was_computed(new)
    return Outcome(new, changed[::-1], kept, (count_params(model), count_params(new)))


def _is_all(model: nn.Module, unit: Unit, can_go: list[Unit]) -> bool:
    """Whether nothing would be left of the unit's chain when it goes after `can_go`."""
    others = sum(other.last - other.first + 1 for other in can_go if other.parent == unit.parent)
    return len(model.get_submodule(unit.parent)._modules) - others == unit.last - unit.first + 1
