"""Connect every unit of a stage of a plain net with all that follow in it: each reads what all before it computed.

    x_l = [x_0; f_1(x_0); ...; f_l(x_{l-1})],   the last unit of the stage gives f_n(x_{n-1}) alone

So the stage takes and gives what it did. With `growth` the inner units compute only so many maps each.

Source: Huang et al. 2016, Densely connected convolutional networks, https://arxiv.org/abs/1608.06993. Card: dense.md
"""

from collections.abc import Collection

from torch import nn

from ..errors import UsageError
from ..nn import DenseConnection
from ._registry import edits
from ._shortcuts import Fit, Plan, divides, refit
from ._units import Unit
from .surgery import Outcome
from .widen import last_layers


@edits(exact=False, needs=(), reduces=("params", "macs"), paper="arxiv:1608.06993", first=True)
def dense(model: nn.Module, *, growth: int | None = None, skip: Collection[str] = ()) -> Outcome:
    """Concatenate the input and the outputs of all units of a stage; every unit reads all of them, its layers get wider.

    A stage is a run of units, one behind another in a chain, that keep the size of the map: a pool or a stride ends it. The
    last unit gives what it gave before, so everything outside stays. `growth` is the number of maps that each other unit
    computes, where one layer gives them; None leaves it. `skip` holds names of units, or of modules, that end a stage.

    Raises: UsageError for growth below 1.
    """
    if growth is not None and (isinstance(growth, bool) or growth < 1):
        raise UsageError(f"growth is the number of maps that each unit adds, at least 1; got {growth!r}")
    plan = Plan(model, skip)
    for stage in _stages(plan):
        _connect(plan, stage, growth)
    return plan.done()


def _stages(plan: Plan) -> list[list[Unit]]:
    """Runs of two units or more that can be connected; units alone are kept with the reason."""
    runs: list[list[Unit]] = []
    for unit in plan.units:
        if plan.is_shared(plan.parts(unit)):
            plan.keep(unit, "it hangs in two places")
        elif unit.stride != 1 or not divides(plan.parts(unit), unit):
            plan.keep(unit, "it changes the size of its map")
        elif runs and _follows(runs[-1][-1], unit) and _reads(plan, unit):
            runs[-1].append(unit)
        else:
            runs.append([unit])
    for run in runs:
        if len(run) == 1:
            plan.keep(run[0], "no other unit beside it could read, or be read by, it at this size of map")
    return [run for run in runs if len(run) > 1]


def _follows(first: Unit, second: Unit) -> bool:
    return first.parent == second.parent and first.last + 1 == second.first


def _reads(plan: Plan, unit: Unit) -> bool:
    """Whether a unit can take more channels and give as many as before: a depthwise convolution cannot."""
    fit = refit(dict(zip(unit.names, plan.parts(unit), strict=True)), unit.in_channels, 2 * unit.in_channels)
    return fit is not None and bool(fit.sizes) and fit.out[0] == unit.out_channels


def _connect(plan: Plan, stage: list[Unit], growth: int | None) -> None:
    """Wrap each unit but the last, and have each take all the channels before it."""
    channels = stage[0].in_channels
    for unit in stage:
        is_last = unit is stage[-1]
        fit = _fitted(plan, unit, channels, None if is_last else growth)
        plan.resize(fit)
        if not is_last:
            plan.wrap(unit, len(unit.names), lambda parts: DenseConnection(*parts), f"its {channels} inputs beside its outputs")
            channels += fit.out[0]


def _fitted(plan: Plan, unit: Unit, channels: int, growth: int | None) -> Fit:
    """A unit that takes so many channels, and computes `growth` maps where a single layer gives them."""
    named = dict(zip(unit.names, plan.parts(unit), strict=True))
    ends = [f"{unit.names[int(n.partition('.')[0])]}.{n.partition('.')[2]}".rstrip(".") for n in _ends(named)]
    if growth is not None and len(ends) == 1:

        def width(name: str, old: int) -> int:  # a layer of danlu is asked as a whole, by its own name
            return growth if ends[0] == name or ends[0].startswith(f"{name}.") else old

        fit = refit(named, unit.in_channels, channels, width)
        if fit is not None and fit.out[0] == growth:
            return fit
    fit = refit(named, unit.in_channels, channels)
    if fit is None:
        raise UsageError(f"dense: {unit.names[0]} does not run with {channels} channels")
    return fit


def _ends(named: dict[str, nn.Module]) -> set[str]:
    """The layers of a unit behind which there is no other, named by its position in the unit."""
    return last_layers(nn.Sequential(*named.values()))
