"""profile(model): what every layer costs, and where the totals come from."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from ..errors import UsageError, unknown
from .count import Count, count
from .memory import Buffer
from .row import Row, Uncounted
from .time import Spread, Timing, measure
from .walk import Scripted

SORTS: dict[str, Callable[[Row], float]] = {
    "time": lambda row: row.median_ms or 0.0,
    "macs": lambda row: row.macs,
    "params": lambda row: row.params,
    "bytes": lambda row: row.bytes,
}


@dataclass(frozen=True)
class Profile:
    """The cost of one forward pass of `batch` images in eval mode; counts and bytes are for the whole batch.

    `macs`: multiply-accumulates of convolutions and matrix products (a FLOP count is about twice that).
    `params`: every distinct parameter once; `param_bytes` in the type they are held in.
    `activation_bytes`: all activations made; `peak_activation_bytes`: the most alive at one moment, at row `peak_row`.
    `time_ms`: median of the whole net without hooks, None unless timed; `hooked_ms` is with the hooks that time the layers.
    `buffers`: the lifetimes behind the peak, not part of the JSON.
    `uncounted`: what the totals lack. `recipe`: the text the model was made from, if it says so.
    """

    input: tuple[int, ...]
    batch: int
    rows: tuple[Row, ...]
    output: tuple[int, ...] | None
    params: int
    macs: int
    param_bytes: int
    activation_bytes: int
    peak_activation_bytes: int
    peak_row: int
    uncounted: tuple[Uncounted, ...] = ()
    notes: tuple[str, ...] = ()
    recipe: str = ""
    time_ms: float | None = None
    time_p10_ms: float | None = None
    time_p90_ms: float | None = None
    hooked_ms: float | None = None
    repeats: int = 0
    threads: int = 1
    device: str = "cpu"
    buffers: tuple[Buffer, ...] = field(default=(), repr=False)

    @property
    def bytes(self) -> int:
        """Bytes read and written by all operators."""
        return sum(row.bytes for row in self.rows)

    def ranked(self, by: str = "") -> list[int]:
        """Row indices by "time", "macs", "params" or "bytes", most first; in running order without `by`."""
        if not by:
            return list(range(len(self.rows)))
        if by not in SORTS:
            raise unknown("sort key", by, SORTS)
        if by == "time" and self.time_ms is None:
            raise UsageError("rows can be sorted by time only when timed; pass time=True (--time)")
        return sorted(range(len(self.rows)), key=lambda i: -SORTS[by](self.rows[i]))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and text; rows in running order."""
        data = asdict(self) | {"bytes": self.bytes, "rows": [row.to_json() for row in self.rows]}
        del data["buffers"]
        data["uncounted"] = [asdict(item) for item in self.uncounted]
        return data


def profile(
    model: nn.Module,
    input: tuple[int, ...] = (3, 224, 224),
    *,
    time: bool = False,
    batch: int = 1,
    repeats: int = 20,
    device: str = "cpu",
) -> Profile:
    """Count, and with `time` also measure, one forward pass of any module on an input of shape [batch, *input].

    Counting happens on the meta device (no weights copied, nothing computed) in eval mode; the model is left as it was.
    `device` is where time is measured. Raises UsageError for a shape that is not positive numbers or that the model refuses.
    """
    shape = tuple(input)
    if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise UsageError(f"input must be positive whole numbers such as (3, 224, 224), got {input!r}")
    if batch < 1 or repeats < 1:
        raise UsageError(f"batch and repeats must be at least 1, got {batch} and {repeats}")
    model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    if isinstance(model, torch.jit.ScriptModule):
        model = Scripted(model)
    full = (batch, *shape)
    counted = count(model, full)
    timing = measure(model, full, repeats=repeats, device=device) if time else None
    result = Profile(
        input=shape,
        batch=batch,
        rows=_timed(counted, timing),
        output=counted.output,
        params=counted.params,
        macs=sum(row.macs for row in counted.rows),
        param_bytes=counted.param_bytes,
        activation_bytes=counted.activation_bytes,
        peak_activation_bytes=counted.peak_bytes,
        peak_row=counted.peak_row,
        uncounted=counted.uncounted,
        notes=counted.notes,
        recipe=str(getattr(model, "danlu_recipe", "")),
        threads=torch.get_num_threads(),
        device=str(device),
        buffers=counted.buffers,
    )
    if timing is None:
        return result
    spread = timing.plain
    return replace(
        result,
        time_ms=spread.median_ms,
        time_p10_ms=spread.p10_ms,
        time_p90_ms=spread.p90_ms,
        hooked_ms=timing.hooked.median_ms,
        repeats=timing.repeats,
    )


def _timed(counted: Count, timing: Timing | None) -> tuple[Row, ...]:
    """Give every row the measurement of the same piece of work."""
    if timing is None:
        return counted.rows
    times: Sequence[Spread | None] = [timing.layers.get(key) for key in counted.keys]
    return tuple(
        replace(row, median_ms=spread.median_ms, p10_ms=spread.p10_ms, p90_ms=spread.p90_ms) if spread else row
        for row, spread in zip(counted.rows, times, strict=True)
    )
