"""Measure real time: each layer by hooks, the whole net without them, alternating so that both meet the same machine.

Hooks cost a few microseconds a layer, so the sum of the layers is not the latency of the net: both are reported. What is measured
is PyTorch eager in inference mode on this device; the exported file in its runtime is the business of `danlu bench`.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..errors import UsageError
from .count import FORWARD_ERRORS, input_dtype
from .walk import Frame, Key, inference, watching


@dataclass(frozen=True)
class Spread:
    """Median and the 10th and 90th percentile of repeated measurements, in milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Spread":
        """From measurements in seconds."""
        low, middle, high = torch.tensor(seconds, dtype=torch.float64).quantile(
            torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
        )
        return cls(1e3 * middle.item(), 1e3 * low.item(), 1e3 * high.item())


@dataclass(frozen=True)
class Timing:
    """`layers` maps a piece of work (module, call, gap) to its own time; `plain` is the net without hooks, `hooked` with them."""

    layers: dict[Key, Spread]
    plain: Spread
    hooked: Spread
    repeats: int


class _Stopwatch:
    """Own time of every piece of work: a child's time is not its parent's."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: dict[Key, float] = {}
        self.since = 0.0
        self.stack: list[Frame] = []

    def read(self) -> float:
        synchronize(self.device)
        return time.perf_counter()

    def _credit(self, now: float) -> None:
        if self.stack:
            key = self.stack[-1].key
            self.times[key] = self.times.get(key, 0.0) + now - self.since

    def enter(self, frame: Frame) -> None:
        self._credit(self.read())
        self.stack.append(frame)
        self.since = self.read()

    def leave(self, frame: Frame) -> None:
        self._credit(self.read())
        self.stack.pop()
        self.since = self.read()


def synchronize(device: torch.device) -> None:
    """Wait for an accelerator to finish, so that the clock reads work and not its launch."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def measure(
    model: nn.Module, shape: Sequence[int], *, repeats: int = 20, warmup: int = 3, device: str | torch.device = "cpu"
) -> Timing:
    """Time `model` on random input of `shape` [B, C, ...]; on another device a copy of it is timed, never the model itself.

    Raises UsageError when the weights are on the meta device or the model does not take the input.
    """
    device = torch.device(device)
    places = {p.device for p in model.parameters()} | {b.device for b in model.buffers()}
    if any(place.type == "meta" for place in places):
        raise UsageError("time=True needs real weights; this model is on the meta device")
    if any(place != device for place in places):
        model = copy.deepcopy(model).to(device)
    x = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0)).to(device, input_dtype(model))
    layers: dict[Key, list[float]] = {}
    plain, hooked = [], []

    def run() -> float:
        synchronize(device)
        start = time.perf_counter()
        model(x)
        synchronize(device)
        return time.perf_counter() - start

    with inference(model), torch.inference_mode():
        try:
            for _ in range(warmup):
                run()
        except FORWARD_ERRORS as error:
            raise UsageError(f"the model does not take an input of shape {list(shape)}: {str(error).splitlines()[0]}") from error
        for _ in range(repeats):
            plain.append(run())
            watch = _Stopwatch(device)
            with watching(model, watch.enter, watch.leave, shapes=False):
                hooked.append(run())
            for key, seconds in watch.times.items():
                layers.setdefault(key, []).append(seconds)
    return Timing({key: Spread.of(seconds) for key, seconds in layers.items()}, Spread.of(plain), Spread.of(hooked), repeats)
