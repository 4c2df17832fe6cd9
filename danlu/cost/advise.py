"""advise(profile): ranked suggestions, each with why, an edit as text and the saving computed from the profile.

The checks follow the column's way to slim a net: where do the time, the parameters and the memory sit; is the input too large or
the last map too small; is the net wide or deep without need; which layers take more time than their arithmetic explains.
A finding without an edit that exists has an empty `edit` and no `saving`.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

from ..units import show_bytes, show_count
from .predict import (
    Change,
    Flow,
    best_rate,
    channels_to_reach,
    compare,
    fold_bn,
    foldable,
    relax_strides,
    scale_channels,
    scale_input,
)
from .profile import Profile, profile
from .row import Row

if TYPE_CHECKING:
    from ..edits.recipe import Call

ACTIVATIONS = frozenset(("SiLU", "GELU", "Hardswish", "Tanh", "Mish", "ELU", "CELU", "SELU", "Softplus"))  # gates stay
MAP_SMALL, MAP_LARGE = 4, 8  # the last map of a classifier: smaller loses the object, larger wastes work


@dataclass(frozen=True)
class Advice:
    """One suggestion. `saving` maps "macs", "params", "time", "peak_activation_bytes" to the share saved (negative: it grows)."""

    why: str
    edit: str = ""
    saving: dict[str, float] = field(default_factory=dict)
    kind: str = ""
    rank: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def percent(share: float) -> str:
    """0.214 -> '21 %', 0.0214 -> '2.1 %', 0.000214 -> '0.021 %'."""
    return f"{100 * share:.0f} %" if share >= 0.095 or share < 5e-7 else f"{100 * share:.2g} %"


@dataclass(frozen=True)
class Bounds:
    """Limits in absolute numbers; None is no limit."""

    max_size_bytes: float | None = None
    max_latency_ms: float | None = None
    max_macs: float | None = None


def bounds_of(budget: Any, profile: Profile) -> Bounds:
    """The limits of a `danlu.Budget` (its shares are of this very profile), or of any object with the fields of `Bounds`."""
    if callable(getattr(budget, "limits", None)):
        limits = budget.limits(profile.param_bytes, profile.time_ms or 0.0, profile.macs)
        return Bounds(limits.size_bytes, limits.latency_ms, limits.macs)
    return Bounds(*(getattr(budget, name, None) for name in ("max_size_bytes", "max_latency_ms", "max_macs")))


class Case:
    """A profile under advice, with what the checks share."""

    def __init__(self, profile: Profile, budget: Any) -> None:
        self.profile = profile
        self.bounds = bounds_of(budget, profile)
        self.flow = Flow(profile)
        self.time = sum(row.median_ms or 0.0 for row in profile.rows)

    def holders(self, value: Callable[[Row], float], total: float, most: int = 3) -> str:
        """The rows that hold most of a total: 'layer4.0.conv2 21 %, fc 18 %'."""
        rows = sorted((row for row in self.profile.rows if value(row) > 0), key=lambda row: -value(row))[:most]
        return ", ".join(f"{row.label} {percent(value(row) / total)}" for row in rows)

    def thinner(self, keep: float, kind: str, why: str) -> Advice:
        """Advice to keep this share of the channels: by the base's own width where it has one, else by pruning."""
        base = width_base(self.profile.recipe)
        if base is None:
            return Advice(why, prune(keep), scale_channels(self.flow, keep).saving(), kind)
        text, change = self.narrow(base, keep)
        return Advice(why, text, change.saving(), kind)

    def narrow(self, base: "Call", keep: float) -> tuple[str, Change]:
        """The base at `keep` of its width, and what that changes: counted where rebuilding needs no weights, else by formula."""
        from ..edits import edits
        from ..edits.recipe import parse, show
        from .target import find_target

        text = replace(base, options=base.options | {"width": round(float(base.options.get("width", 1.0)) * keep, 4)})
        rest = parse(self.profile.recipe)[1:]
        output = self.profile.output
        if output is None or any("weights" in edits[step.name].facts["needs"] for step in rest):
            return str(text), scale_channels(self.flow, keep)
        target = find_target(show([text, *rest]), input=self.profile.input, classes=output[-1])
        return str(text), compare(profile(target.model, self.profile.input, batch=self.profile.batch), self.profile)

    def thin_enough(self, left: Callable[[Change], float], target: float) -> float | None:
        """The largest share of the channels, in percent steps, with left(change) <= target; None below 5 %."""
        base = width_base(self.profile.recipe)
        if base is None:
            return channels_to_reach(self.flow, left, target)
        low, high = 4, 100  # bisected, since every width is counted, and they round to whole blocks of channels
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if left(self.narrow(base, middle / 100)[1]) <= target else (low, middle)
        return low / 100 if low > 4 else None

    def size_for(self, side: int) -> tuple[int, ...] | None:
        """The input size (H, W) whose last map is `side` on its narrower side; None for a net that is no classifier over maps."""
        row = self.flow.rows[self.flow.trunk] if self.flow.trunk is not None else None
        if row is None or row.jump is None or len(row.jump) != 2 or not self.flow.classifies:
            return None
        grid = self.flow.last_map
        away = [g - max(round(g * side / min(grid)), 1) for g in grid]
        size = tuple(round(old - cut * step) for old, cut, step in zip(self.profile.input[1:], away, row.jump, strict=True))
        return size if min(size) > 0 else None


def prune(keep: float) -> str:
    """The edit that cuts every layer alike: only then does the prediction not depend on the weights."""
    return f'prune_channels(ratio={round(1 - keep, 2)}, scope="layer")'


def width_base(recipe: str) -> "Call | None":
    """The base of a recipe, if it is a zoo net with a `width` option."""
    if not recipe:
        return None
    from ..edits.recipe import parse
    from ..zoo import models

    base = parse(recipe)[0]
    return base if base.name in models and "width" in models[base.name].options() else None


def advise(profile: Profile, budget: Any = None) -> list[Advice]:
    """Suggestions for a profile, best first; `rank` counts from 1.

    `budget` is a danlu.Budget or anything with max_size_bytes, max_latency_ms and max_macs (a number or None each). What
    concerns it comes first, then the input, then edits by the largest share they save, then findings without an edit.
    """
    case = Case(profile, budget)
    found = [advice for check in CHECKS for advice in check(case)]
    merged: dict[str, Advice] = {}
    for i, advice in enumerate(found):
        key = advice.edit or f"#{i}"
        merged[key] = replace(merged[key], why=f"{merged[key].why}; {advice.why}") if key in merged else advice
    order = {"budget": 0, "input": 1}
    best = sorted(
        merged.values(),
        key=lambda item: (order.get(item.kind, 2 if item.edit else 3), -max(item.saving.values(), default=0.0)),
    )
    return [replace(advice, rank=i) for i, advice in enumerate(best, start=1)]


def _fit(size: tuple[int, ...]) -> str:
    return f"fit_input(size={size[0]})" if len(set(size)) == 1 else f"fit_input(size={size})"


def check_budget(case: Case) -> Iterator[Advice]:
    """How far each limit is, and the width that would meet it."""
    profile, bounds = case.profile, case.bounds
    size, macs, latency = bounds.max_size_bytes, bounds.max_macs, bounds.max_latency_ms
    if size:
        have = f"the weights take {show_bytes(profile.param_bytes)} (as int8 {show_bytes(profile.params)})"
        yield _against(case, have, show_bytes(size), profile.param_bytes / size, lambda change: change.params)
    if macs:
        have = f"one pass takes {show_count(profile.macs)} MACs"
        yield _against(case, have, show_count(macs), profile.macs / macs, lambda change: change.macs)
    if latency is not None:
        if profile.time_ms is None:
            yield Advice("the latency was not measured, so the latency limit cannot be judged; profile with time", kind="budget")
        else:
            have = f"one pass takes {profile.time_ms:.3g} ms in PyTorch; its time is taken to follow its MACs"
            yield _against(case, have, f"{latency:.3g} ms", profile.time_ms / latency, lambda change: change.macs)


def _against(case: Case, have: str, limit: str, over: float, left: Callable[[Change], float]) -> Advice:
    if over <= 1:
        return Advice(f"{have}; the limit of {limit} is met", kind="budget")
    keep = case.thin_enough(left, 1 / over)
    if keep is None:
        return Advice(f"{have}; {over:.3g}x the limit of {limit}: no width of this net fits, take a smaller base", kind="budget")
    return case.thinner(keep, "budget", f"{have}; {over:.3g}x the limit of {limit}")


def check_input(case: Case) -> Iterator[Advice]:
    """A last map of 4 to 8: larger wastes work, smaller cannot hold the object."""
    grid = case.flow.last_map
    if not grid or case.flow.trunk is None or not case.flow.classifies:
        return
    side = min(grid)
    size = case.size_for(MAP_LARGE)
    if side > MAP_LARGE and size is not None:
        why = f"the input is too large: the last map is {_by(grid)}, {MAP_LARGE} wide is enough for a class"
        yield Advice(why, _fit(size), scale_input(case.flow, size).saving(), "input")
    elif side < MAP_SMALL:
        factor = 1
        while side * factor < MAP_SMALL:
            factor *= 2
        if min(case.flow.rows[case.flow.trunk].jump or (0,)) >= factor:
            why = f"the last map is {_by(grid)}, too small to tell classes apart; early strides of 1 make it {side * factor} wide"
            yield Advice(why, _fit(case.profile.input[1:]), relax_strides(case.flow, factor).saving(), "input")


def check_params(case: Case) -> Iterator[Advice]:
    """Where the parameters sit; fully connected layers after a flattened map are named for what they are."""
    profile = case.profile
    if not profile.params:
        return
    why = f"most parameters: {case.holders(lambda row: row.params, profile.params)}"
    linear = [row for row in profile.rows if row.kind == "Linear" and row.params]
    share = sum(row.params for row in linear) / profile.params
    if share > 0.5:
        work = sum(row.macs for row in linear) / max(profile.macs, 1)
        why += f"; {len(linear)} Linear layers hold {percent(share)} of them and do {percent(work)} of the MACs"
        if case.flow.flattened:
            reader, maker = next(iter(case.flow.flattened.items()))
            grid = _by((profile.rows[maker].output or ())[2:])
            why += f"; {profile.rows[reader].label} reads a flattened {grid} map: global pooling before it would shrink it most"
    yield Advice(why, prune(0.5), scale_channels(case.flow, 0.5).saving(), "params")


def check_work(case: Case) -> Iterator[Advice]:
    """Where the MACs, or when measured the time, sit."""
    profile = case.profile
    if not profile.macs:
        return
    if case.time:
        why = f"most time: {case.holders(lambda row: row.median_ms or 0.0, case.time)}"
    else:
        why = f"most MACs: {case.holders(lambda row: row.macs, profile.macs)}"
    yield case.thinner(0.5, "time" if case.time else "macs", why)


def check_memory(case: Case) -> Iterator[Advice]:
    """Where the activations peak; a smaller input lowers it, as far as the last map allows."""
    profile = case.profile
    if profile.peak_row < 0:
        return
    row = profile.rows[profile.peak_row]
    shape = f" {list(row.output)}" if row.output is not None else ""
    why = f"activations peak at {show_bytes(profile.peak_activation_bytes)} while {row.label} makes its output{shape}"
    grid = case.flow.last_map
    side = min(grid, default=0)
    size = case.size_for(max(MAP_SMALL, round(side * 0.7))) if MAP_SMALL < side <= MAP_LARGE else None
    if size is None:
        yield Advice(why, kind="memory")
    else:
        yield Advice(why, _fit(size), scale_input(case.flow, size).saving(), "memory")


def check_bn(case: Case) -> Iterator[Advice]:
    """Batch norm at inference is one multiply and add a channel, which the layer before can take over."""
    pairs = foldable(case.flow)
    if pairs:
        names = case.profile.rows[pairs[0][1]].name
        why = f"{len(pairs)} batch norms ({names}, ...) follow a layer that can absorb them, with the same outputs"
        yield Advice(why, "fold_bn", fold_bn(case.flow, pairs).saving(), "batch norm")


def check_slow(case: Case) -> Iterator[Advice]:
    """Layers whose share of the time is over 3 times their share of the MACs, and over 5 %."""
    if not case.time:
        return
    groups: dict[str, list[Row]] = {}
    for i, row in enumerate(case.profile.rows):
        groups.setdefault(_group(row, first=case.flow.first[i]), []).append(row)
    for name, rows in groups.items():
        share = sum(row.median_ms or 0.0 for row in rows) / case.time
        work = sum(row.macs for row in rows) / max(case.profile.macs, 1)
        if share <= 0.05 or share <= 3 * work or name == "batch norm":  # batch norm has its own advice
            continue
        why = f"{name}: {percent(share)} of the time with {percent(work)} of the MACs"
        if name in ACTIVATIONS:
            yield _cheaper_activation(case, name, rows, why)
        elif name == "depthwise convolutions":
            yield case.thinner(0.5, "overhead", why + _depthwise(case, rows))
        else:
            yield Advice(f"{why}; memory traffic and call overhead, not arithmetic", kind="overhead")


def _group(row: Row, first: bool) -> str:
    if row.depthwise:
        return "depthwise convolutions"
    if row.macs and row.groups is not None:
        return f"the first layer ({row.name})" if first else "convolutions"
    if row.kind.startswith("BatchNorm"):
        return "batch norm"
    if "pool" in row.kind.lower():
        return "pooling"
    return row.kind if row.macs or row.kind in ACTIVATIONS else f"{row.kind} (no MACs)"


def _cheaper_activation(case: Case, name: str, rows: list[Row], why: str) -> Advice:
    """A ReLU moves the same bytes: its time is predicted from the fastest elementwise layer of this very profile."""
    rate = best_rate(case.profile)
    now = sum(row.median_ms or 0.0 for row in rows)
    then = min(sum(row.bytes for row in rows) * (rate or 0.0), now)
    change = Change(time=1 - (now - then) / case.time)
    return Advice(
        f"{why}; a ReLU moves the same bytes with less work", 'swap_activation(to="relu")', change.saving(), "activation"
    )


def _depthwise(case: Case, rows: list[Row]) -> str:
    """The column's comparison: depthwise against the 1x1 convolutions they are paired with."""
    points = [row for row in case.profile.rows if row.groups == 1 and row.kernel is not None and prod(row.kernel) == 1]
    time, work = sum(row.median_ms or 0.0 for row in points), sum(row.macs for row in points)
    mine, macs = sum(row.median_ms or 0.0 for row in rows), sum(row.macs for row in rows)
    moved = sum(row.bytes for row in rows)
    text = f"; {macs / moved:.1f} MAC a byte, so memory sets their time"
    return text + (
        f"; to the 1x1 layers their time is 1:{time / mine:.1f} where the MACs are 1:{work / macs:.1f}" if time else ""
    )


def check_depth(case: Case) -> Iterator[Advice]:
    """A run of equal layers at one map size adds depth only: the place to try a shorter net."""
    runs: dict[tuple[Any, ...], list[Row]] = {}
    for row in case.profile.rows:
        if row.macs and row.params and row.groups == 1 and row.input == row.output and row.kernel is not None:
            runs.setdefault((row.kernel, row.output), []).append(row)
    for (kernel, shape), rows in runs.items():
        share = sum(row.macs for row in rows) / max(case.profile.macs, 1)
        if len(rows) >= 4 and share > 0.2:
            one = share / len(rows)
            why = (
                f"{len(rows)} equal {_by(kernel)} layers on {shape[1]} x {_by(shape[2:])} ({rows[0].name} to {rows[-1].name}) do "
                f"{percent(share)} of the MACs: depth only; each one dropped saves {percent(one)}"
            )
            yield Advice(why, kind="depth")


def _by(grid: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in grid)


CHECKS = (check_budget, check_input, check_params, check_work, check_memory, check_bn, check_slow, check_depth)
