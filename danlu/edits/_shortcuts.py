"""What skip and dense share: which units of a net can have a shortcut, and how what reads them takes more channels.

Everything is decided on a copy of the net without data, part by part, at no input size in particular; then done to a copy of
the net itself.
"""

import copy
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from ._behind import body
from ._maps import _without_data
from ._resize import Resizing, Width, apply
from ._stages import ExitsStay, rechain
from ._trace import FORWARD_ERRORS, first_tensor, trace
from ._units import JOINS, SIDE, Unit, units
from .price import Price, price_of
from .surgery import Change, Outcome, brief, check_skip, count_params, is_skipped
from .widen import price_on

Make = Callable[[list[nn.Module]], nn.Module]
Shape = tuple[int, ...]
SIDES = (SIDE, SIDE - 3)  # a rule that rounds otherwise, or a kernel that reaches too little, differs at one of them
HAS_ONE = "it has a shortcut already"


@dataclass(frozen=True)
class Fit:
    """How some modules take another number of channels: what becomes of each layer that changes, by name, and the shape given."""

    sizes: dict[str, dict[str, int]]
    prices: dict[str, Price]
    out: Shape


class Plan:
    """The changes of one edit. `units` has those that can have a shortcut, in running order; `every` all of the net."""

    def __init__(self, model: nn.Module, skip: Collection[str]) -> None:
        check_skip(model, skip)
        self.every = units(model)
        found, self.kept = body(model)
        if not self.every:
            self.kept.append(("", "it has no units: no block or run of layers in a chain"))
        self._model = model
        self._shadow = _without_data(model).eval()
        places = Counter(module for _, module in self._shadow.named_modules(remove_duplicate=False))
        self._twice = {module for module, count in places.items() if count > 1}
        self._changes: dict[str, Change] = {}
        self._sizes: dict[str, dict[str, int]] = {}
        self._wraps: list[tuple[Unit, int, Make]] = []
        self.units = []
        for unit in found:
            skipped = any(is_skipped(name, skip) for name in unit.names)
            reason = "named in skip" if skipped else HAS_ONE if unit.residual else why_not(self.parts(unit), unit)
            if reason:
                self.keep(unit, reason)
            else:
                self.units.append(unit)

    def keep(self, unit: Unit, reason: str) -> None:
        """Say why a unit stays as it is."""
        self.kept.append((unit.names[0], reason))

    def parts(self, unit: Unit) -> list[nn.Module]:
        """The modules of a unit, without data."""
        return [self._shadow.get_submodule(name) for name in unit.names]

    def behind(self, unit: Unit) -> dict[str, nn.Module]:
        """The children of the chain behind a unit, by full name, to the end of the next unit or of the chain."""
        after = [other for other in self.every if other.parent == unit.parent and other.first > unit.last]
        chain = self._shadow.get_submodule(unit.parent)
        named = [(f"{unit.parent}.{key}".lstrip("."), child) for key, child in chain._modules.items() if child is not None]
        return dict(named[unit.last + 1 : after[0].last + 1 if after else None])

    def is_shared(self, parts: Sequence[nn.Module]) -> bool:
        """Whether a layer in these hangs in another place, too: there, it would be given something else."""
        return any(module in self._twice for part in parts for module in part.modules())

    def wrap(self, unit: Unit, count: int, make: Make, after: str, price: Price | None = None) -> None:
        """Put what `make` gives for the first `count` modules of a unit in their place; `after` says in words what that is."""
        self._wraps.append((unit, count, make))
        self._change(unit.names[0], after, price or Price())

    def resize(self, fit: Fit) -> None:
        """Have layers take more channels, or give fewer."""
        self._sizes.update(fit.sizes)
        for name, price in fit.prices.items():
            self._change(name, ", ".join(f"{key}={value}" for key, value in fit.sizes[name].items()), price)

    def is_resized(self, unit: Unit) -> bool:
        """Whether the input of a unit has more channels than it had."""
        return any(is_skipped(name, unit.names) for name in self._sizes)

    def _change(self, name: str, after: str, price: Price) -> None:
        seen = self._changes.get(name)
        if seen is not None and seen.price is not None:
            after, price = f"{seen.after}; {after}", seen.price + price
        self._changes[name] = Change(name, brief(self._model.get_submodule(name)), after, price)

    def done(self) -> Outcome:
        """The net with everything in place."""
        new = copy.deepcopy(self._model)
        apply(new, self._sizes)
        chains = {unit.parent: new.get_submodule(unit.parent) for unit, _, _ in self._wraps}  # before any of them moves
        with ExitsStay(new):
            for parent, chain in chains.items():
                _rewire(chain, [wrap for wrap in self._wraps if wrap[0].parent == parent])
        return Outcome(new, list(self._changes.values()), self.kept, (count_params(self._model), count_params(new)))


def _rewire(chain: nn.Module, wraps: list[tuple[Unit, int, Make]]) -> None:
    """Replace children of a chain in place; a new module hangs where the first of its own hung."""
    items = list(chain._modules.items())
    for unit, count, make in reversed(wraps):
        old = items[unit.first : unit.first + count]
        new = make([child for _, child in old if child is not None])
        new.training = chain.training
        items[unit.first : unit.first + count] = [(old[0][0], new)]
    rechain(chain, items)


def chained(parts: list[nn.Module]) -> nn.Module:
    """A module as it is, or several as a chain."""
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts).train(parts[0].training)


def why_not(parts: list[nn.Module], unit: Unit) -> str | None:
    """Why a unit without a sum cannot have a shortcut; None for one that can."""
    chain = nn.Sequential(*parts)
    graph = trace(chain)
    if graph is None:
        return "its forward cannot be traced, so it may have a shortcut"
    if _passes_its_input_on(graph, chain):
        return HAS_ONE
    if _writes_into_its_input(chain, unit.in_channels):
        return "it changes its input in place"
    return None


def _passes_its_input_on(graph: fx.Graph, chain: nn.Module) -> bool:
    """Whether the input, or a pool or a part of it, is concatenated with what convolutions make of it."""
    depth: dict[fx.Node, int] = {}
    for node in graph.nodes:
        before = [depth[source] for source in node.all_input_nodes]
        layer = chain.get_submodule(str(node.target)) if node.op == "call_module" else None
        depth[node] = max(before, default=0) + isinstance(layer, _ConvNd)
        if node.target in JOINS and before and min(before) == 0 < max(before):
            return True
    return False


def _writes_into_its_input(chain: nn.Module, channels: int) -> bool:
    x = _blank(chain, channels, SIDE)
    with torch.no_grad():
        version = x._version
        try:
            chain(x)
        except FORWARD_ERRORS:
            return False
    return x._version != version


def divides(parts: list[nn.Module], unit: Unit) -> bool:
    """Whether the unit gives a map of ceil(H / stride) x ceil(W / stride), as a shortcut with that stride does."""
    chain = nn.Sequential(*parts)
    shapes = [_run(chain, unit.in_channels, side) for side in SIDES]
    return all(
        shape is not None and len(shape) > 1 and all(n == math.ceil(side / unit.stride) for n in shape[1:])
        for shape, side in zip(shapes, SIDES, strict=True)
    )


def refit(named: dict[str, nn.Module], before: int, after: int, width: Width = lambda _, channels: channels) -> Fit | None:
    """How modules that run one after another take `after` channels in the place of `before`; None where they cannot.

    `width` gives the new number of outputs for a layer, named as in `named`, and its old number.
    """
    old, new = (nn.Sequential(OrderedDict(enumerated(copy.deepcopy(list(named.values()))))) for _ in range(2))
    names = list(named)

    def full(name: str) -> str:
        position, _, rest = name.partition(".")
        return f"{names[int(position)]}.{rest}".rstrip(".")

    first = Resizing(old, lambda _, channels: channels)
    second = Resizing(new, lambda name, channels: width(full(name), channels))
    if _run(old, before, SIDE) is None or (out := _run(new, after, SIDE)) is None:
        return None
    plain, fitted = (nn.Sequential(*copy.deepcopy(list(named.values()))) for _ in range(2))
    apply(fitted, second.found)
    sizes, prices = {}, {}
    for name, options in second.found.items():
        was, now = plain.get_submodule(name), fitted.get_submodule(name)
        if brief(was) != brief(now):
            sizes[full(name)] = options
            prices[full(name)] = price_of(now) - price_of(was)
            if name in second.inputs:
                prices[full(name)] = price_on(now, second.inputs[name]) - price_on(was, first.inputs[name])
    return Fit(sizes, prices, out)


def enumerated(modules: list[nn.Module]) -> list[tuple[str, nn.Module]]:
    """Names 0, 1, 2, ... for the children of a chain."""
    return [(str(i), module) for i, module in enumerate(modules)]


def _blank(chain: nn.Module, channels: int, side: int) -> torch.Tensor:
    weight = next((m.weight for m in chain.modules() if isinstance(m, _ConvNd)), torch.empty(0, 0, 0, 0))
    return torch.empty(2, channels, *[side] * (weight.dim() - 2), dtype=weight.dtype, device="meta")


@torch.no_grad()
def _run(chain: nn.Module, channels: int, side: int) -> Shape | None:
    """The shape [C, ...] that a chain without data gives; None where it does not run."""
    try:
        y = first_tensor(chain(_blank(chain, channels, side)))
    except FORWARD_ERRORS:
        return None
    return tuple(y.shape[1:]) if y is not None else None
