"""What deepen and shorten share: the units of a stage, and chains that get longer or shorter while all around them stays."""

from collections.abc import Collection, Iterable

from torch import nn

from ..errors import UsageError
from ..nn import EarlyExit
from ._units import Unit, units
from .surgery import check_skip, is_skipped

Kept = list[tuple[str, str]]


def units_of(model: nn.Module, stage: int, by: int, skip: Collection[str]) -> tuple[list[Unit], Kept]:
    """The units of a stage that are not named in skip, and the others with the reason.

    Raises: UsageError for a stage that the net does not have, or for less than one unit.
    """
    check_skip(model, skip)
    if isinstance(by, bool) or by < 1:
        raise UsageError(f"by is a number of units, at least 1; got {by!r}")
    found = units(model)
    last = found[-1].stage if found else max(stage, 1)
    if isinstance(stage, bool) or not 1 <= stage <= last:
        raise UsageError(f"the stages of this net count from 1 to {last}, got stage={stage!r}")
    members = [unit for unit in found if unit.stage == stage]
    skipped = [unit for unit in members if any(is_skipped(name, skip) for name in unit.names)]
    kept = [(unit.names[0], "named in skip") for unit in skipped]
    if not found:
        kept.append(("", "it has no units: no block or run of layers in a chain"))
    return [unit for unit in members if unit not in skipped], kept


def rechain(chain: nn.Module, children: Iterable[tuple[str, nn.Module | None]]) -> None:
    """Give an nn.Sequential these children in place; those of a numbered chain are numbered anew."""
    numbered = all(key == str(i) for i, key in enumerate(chain._modules))
    items = list(children)
    chain._modules.clear()
    for i, (key, child) in enumerate(items):
        chain._modules[str(i) if numbered else key] = child


class ExitsStay:
    """While chains change inside, the exits of a net stay at their modules, whatever these are called in the end."""

    def __init__(self, model: nn.Module) -> None:
        self._exits = [module for module in model.modules() if isinstance(module, EarlyExit)]

    def __enter__(self) -> None:
        self._points = [[net.point(place) for place in net.places] for net in self._exits]

    def __exit__(self, *error: object) -> None:
        for net, points in zip(self._exits, self._points, strict=True):
            names = {module: name for name, module in net.net.named_modules()}
            net.places = tuple(names[point] for point in points)
