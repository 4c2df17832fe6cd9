"""What a change would save, computed from the rows of a profile. Ratios are new / old; 0.25 means a quarter is left.

Who feeds whom comes from `Row.sources`: the first weighted layers keep their inputs (the image's channels), the last ones
their outputs (the classes), whatever happens to the width in between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from .memory import peak
from .profile import Profile
from .row import Row


@dataclass(frozen=True)
class Change:
    """Predicted new / old of each total; `params` or `macs` 1.0 means untouched."""

    macs: float = 1.0
    params: float = 1.0
    peak: float = 1.0
    time: float | None = None

    def saving(self) -> dict[str, float]:
        """The share saved of each total that changes, negative where it grows."""
        named = {"macs": self.macs, "params": self.params, "peak_activation_bytes": self.peak, "time": self.time}
        return {name: round(1 - left, 4) for name, left in named.items() if left is not None and abs(1 - left) > 5e-5}


def compare(new: Profile, old: Profile) -> Change:
    """The change between two counted profiles."""
    ratios = ((new.macs, old.macs), (new.params, old.params), (new.peak_activation_bytes, old.peak_activation_bytes))
    return Change(*(after / max(before, 1) for after, before in ratios))


class Flow:
    """The graph of a profile: consumers, first and last weighted layers, the last map."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.rows = profile.rows

    @cached_property
    def consumers(self) -> list[list[int]]:
        """Per row, the rows that read from it."""
        readers: list[list[int]] = [[] for _ in self.rows]
        for i, row in enumerate(self.rows):
            for source in row.sources:
                if source >= 0:
                    readers[source].append(i)
        return readers

    @cached_property
    def first(self) -> list[bool]:
        """Rows that no weighted layer comes before."""
        after: list[bool] = []
        for row in self.rows:
            after.append(any(s >= 0 and (_weighted(self.rows[s]) or after[s]) for s in row.sources))
        return [not seen for seen in after]

    @cached_property
    def last(self) -> list[bool]:
        """Rows that no weighted layer comes after."""
        before = [False] * len(self.rows)
        for i in reversed(range(len(self.rows))):
            before[i] = any(_weighted(self.rows[j]) or before[j] for j in self.consumers[i])
        return [not seen for seen in before]

    @cached_property
    def trunk(self) -> int | None:
        """The last convolution or pool whose map follows the input's size, before global pooling or flattening."""
        on_map = (i for i in reversed(range(len(self.rows))) if self.rows[i].kernel is not None and _map(self.rows[i]))
        return next(on_map, None)

    @property
    def last_map(self) -> tuple[int, ...]:
        """(H, W) of the trunk's output; () without a trunk."""
        return _map(self.rows[self.trunk]) if self.trunk is not None else ()

    @cached_property
    def classifies(self) -> bool:
        """Ends in one vector an image, and most of its work is convolution on maps."""
        on_maps = sum(row.macs for row in self.rows if row.groups is not None)
        return self.profile.output is not None and len(self.profile.output) == 2 and on_maps > 0.5 * self.profile.macs > 0

    @cached_property
    def flattened(self) -> dict[int, int]:
        """Linear layers that read a flattened map, and the row that made it: their width is the map's area."""
        found: dict[int, int] = {}
        for i, row in enumerate(self.rows):
            if row.macs and row.kernel is None and row.output is not None and len(row.output) == 2:
                makers = [s for s in row.sources if s >= 0 and prod(_grid(self.rows[s])) > 1]
                if makers:
                    found[i] = makers[-1]
        return found


def _grid(row: Row) -> tuple[int, ...]:
    """The spatial part of an output [B, C, H, W]."""
    return row.output[2:] if row.output is not None else ()


def _map(row: Row) -> tuple[int, ...]:
    """The output's grid, if it follows the input's size."""
    return _grid(row) if row.scales and row.jump is not None and len(_grid(row)) == len(row.jump) else ()


def _weighted(row: Row) -> bool:
    return row.macs > 0 and row.params > 0


def _weight_and_rest(row: Row) -> tuple[int, int]:
    """Parameters that grow with both widths, and those that grow with one (biases, normalisation)."""
    if row.input is None or row.output is None or not _weighted(row):
        return 0, row.params
    if row.kernel is not None and row.groups is not None:
        weight = row.input[1] * row.output[1] * prod(row.kernel) // row.groups
    else:
        weight = row.input[-1] * row.output[-1]
    return (weight, row.params - weight) if 0 < weight <= row.params else (row.params, 0)


def scale_channels(flow: Flow, keep: float) -> Change:
    """Every inner layer keeps `keep` of its channels: width multipliers and uniform channel pruning.

    A layer between two inner widths keeps keep^2 of its MACs and weights; the first, the last, a depthwise layer, a bias and a
    normalisation keep `keep`. Rounding to whole channels is not modelled.
    """
    profile = flow.profile
    macs = params = 0.0
    for row, first, last in zip(flow.rows, flow.first, flow.last, strict=True):
        if not _weighted(row):
            macs += row.macs * keep
            params += row.params * keep
            continue
        factor = (1.0 if first else keep) * (1.0 if last else keep)
        if row.depthwise:
            factor = 1.0 if first else keep
        weight, rest = _weight_and_rest(row)
        macs += row.macs * factor
        params += weight * factor + rest * (1.0 if last else keep)
    top = _peak(flow, lambda i: 1.0 if i < 0 or flow.last[i] else keep)
    return Change(macs / max(profile.macs, 1), params / max(profile.params, 1), top)


def _peak(flow: Flow, factor: Callable[[int], float]) -> float:
    """New / old peak memory when every activation changes by the factor of the row that makes it (-1: the image)."""
    top, _ = peak(flow.profile.buffers, lambda buffer: buffer.bytes * factor(buffer.writer))
    return top / max(flow.profile.peak_activation_bytes, 1)


def scale_input(flow: Flow, size: tuple[int, ...]) -> Change:
    """The input becomes `size` (H, W): a map of n positions at jump J gets n - (old - new) / J, padded or not; the rest stays."""
    old = flow.profile.input[1:]

    def factor(row: Row) -> float:
        grid = _map(row)
        if grid and row.jump is not None:
            return prod(max(g - (o - n) / j, 0) / g for g, o, n, j in zip(grid, old, size, row.jump, strict=True))
        return prod(size) / prod(old) if row.scales else 1.0

    row = flow.rows[flow.trunk] if flow.trunk is not None else None
    steps = (row.jump if row is not None else None) or ()
    cuts = zip(flow.last_map, old, size, steps, strict=False)
    return _by_row(flow, factor, tuple(g - (o - n) / j for g, o, n, j in cuts), image=prod(size) / prod(old))


def relax_strides(flow: Flow, factor: float) -> Change:
    """The earliest strides become 1 until the map is `factor` times as wide: a layer at jump J grows by min(J, factor) a side.

    Padding is taken to keep maps proportional, as in nets that pad.
    """

    def growth(row: Row) -> float:
        return prod(min(step, factor) for step in row.jump) if row.jump is not None and row.scales else 1.0

    return _by_row(flow, growth, tuple(n * factor for n in flow.last_map))


def _by_row(flow: Flow, factor: Callable[[Row], float], last_map: tuple[float, ...], image: float = 1.0) -> Change:
    """Work on maps follows the number of positions, and time is taken to; a flattened map's reader follows the map's maker.

    An adaptive pool to a fixed map that is larger than `last_map` gets that map, as fit_input does it.
    """
    profile = flow.profile
    factors = [factor(row) for row in flow.rows]
    grown = 0.0
    for reader, maker in flow.flattened.items():
        fixed = _grid(flow.rows[maker])
        if not flow.rows[maker].scales and len(fixed) == len(last_map):
            factors[maker] = prod(min(new / old, 1.0) for new, old in zip(last_map, fixed, strict=True))
        factors[reader] = factors[maker]
        grown += _weight_and_rest(flow.rows[reader])[0] * (factors[maker] - 1)
    macs = sum(row.macs * f for row, f in zip(flow.rows, factors, strict=True)) / max(profile.macs, 1)
    total = sum(row.median_ms or 0.0 for row in flow.rows)
    time = sum((row.median_ms or 0.0) * f for row, f in zip(flow.rows, factors, strict=True))
    top = _peak(flow, lambda i: factors[i] if i >= 0 else image)
    return Change(macs, 1 + grown / max(profile.params, 1), top, time / total if total else None)


def foldable(flow: Flow) -> list[tuple[int, int]]:
    """(layer, batch norm) pairs where the norm is the only reader of a convolution or linear layer."""
    pairs = []
    for i, row in enumerate(flow.rows):
        if row.kind.startswith("BatchNorm") and len(row.sources) == 1 and row.sources[0] >= 0:
            source = row.sources[0]
            layer = flow.rows[source]
            if layer.kind.startswith(("Conv", "Linear")) and _weighted(layer) and flow.consumers[source] == [i]:
                pairs.append((source, i))
    return pairs


def fold_bn(flow: Flow, pairs: Sequence[tuple[int, int]]) -> Change:
    """The norms vanish with their parameters and time; a layer without a bias gets one."""
    gone = gained = 0
    saved = 0.0
    for source, norm in pairs:
        layer = flow.rows[source]
        channels = layer.output[1] if layer.output is not None else 0
        gone += flow.rows[norm].params
        gained += channels if _weight_and_rest(layer)[1] < channels else 0
        saved += flow.rows[norm].median_ms or 0.0
    total = sum(row.median_ms or 0.0 for row in flow.rows)
    return Change(params=1 - (gone - gained) / max(flow.profile.params, 1), time=1 - saved / total if total else None)


def best_rate(profile: Profile) -> float | None:
    """Milliseconds per byte of the fastest elementwise work measured in this profile: the bound a plain activation can reach."""
    plain = [row for row in profile.rows if row.median_ms and not row.macs and row.bytes and row.input == row.output]
    weighty = [row for row in plain if row.bytes >= max(r.bytes for r in plain) / 8]  # small rows measure overhead, not speed
    return min((row.median_ms or 0.0) / row.bytes for row in weighty) if weighty else None


def channels_to_reach(flow: Flow, left: Callable[[Change], float], target: float) -> float | None:
    """The largest `keep` with left(scale_channels(keep)) <= target, to two decimals; None when even 0.05 is not enough."""
    for percent in range(99, 4, -1):
        if left(scale_channels(flow, percent / 100)) <= target:
            return percent / 100
    return None
