"""Precision and memory format: which of fp32, bf16 x NCHW, channels last trains fastest here, found by trying.

bf16 is `torch.autocast`: weights, normalisation and the optimiser stay fp32; convolutions and matrix products run in bf16, where
the processor or accelerator has it and the network is large enough to gain from it. Nobody can tell from the outside, so real
training steps are timed on throw-away copies, turn by turn, and the fastest single step of each decides: other programs on
the machine can only make a step slower.
"""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..tasks import Task
from . import optimizers
from .config import TrainConfig

ROUNDS, ENOUGH_SECONDS, MOST_ROUNDS = 6, 0.3, 40  # six turns, and more while they are short
SMALLEST_BATCH, PROBE_BATCH = 16, 16
HOPELESS = 4.0  # times slower than the best: not worth another step


@dataclass(frozen=True)
class Tune:
    """How the arithmetic is done. `images_per_second` has what was measured, by "bf16 channels_last"; empty if nothing was."""

    precision: str = "fp32"
    memory_format: str = "nchw"
    images_per_second: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As the log says it."""
        return f"{self.precision} {self.memory_format}"

    @property
    def channels_last(self) -> bool:
        """Whether images and weights lie channels last in memory."""
        return self.memory_format == "channels_last"

    def autocast(self, device: str | torch.device) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self.precision == "bf16")

    def place(self, model: nn.Module, device: str | torch.device) -> nn.Module:
        """`model` itself, moved to the device and laid out in the memory format."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(device=device, memory_format=layout)  # type: ignore[call-overload]

    def lay(self, x: Tensor) -> Tensor:
        """A batch in the memory format."""
        return x.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def candidates(config: TrainConfig) -> list[Tune]:
    """What the configuration leaves open."""
    precisions = ("fp32", "bf16") if config.precision == "auto" else (config.precision,)
    formats = ("nchw", "channels_last") if config.memory_format == "auto" else (config.memory_format,)
    return [Tune(precision, layout) for precision in precisions for layout in formats]


def autotune(
    model: nn.Module, task: Task, config: TrainConfig, batch: tuple[Tensor, Tensor], *, teacher: nn.Module | None = None,
    device: str | torch.device = "cpu", seconds: float = 6.0, log: Callable[[str], None] = lambda text: None,
) -> Tune:  # fmt: skip
    """The fastest way to train `model` on batches like this one, within about `seconds`; a `model` that stays as it is.

    Where the configuration leaves one way only, that one is timed all the same: the speed is what a time budget is planned with.
    """
    started = time.perf_counter()
    ways = candidates(config)
    with Trial(ways[0], model, task, config, batch, teacher, device, PROBE_BATCH) as probe:
        probe.step()
        per_image = probe.step() / probe.images
    room = seconds / (len(ways) * (ROUNDS + 1)) / per_image
    size = int(min(len(batch[0]), max(SMALLEST_BATCH, room)))
    trials = [Trial(way, model, task, config, batch, teacher, device, size) for way in ways]
    best: dict[str, float] = {}
    for turn in range(MOST_ROUNDS):
        for trial in trials:
            taken = trial.step()
            name = trial.way.name
            # The first step of each builds kernels; it counts until there is a better one.
            best[name] = min(best.get(name, taken), taken) if turn > 1 else taken
        taken = time.perf_counter() - started
        if turn and taken > (seconds if turn < ROUNDS else min(seconds, ENOUGH_SECONDS)):
            break
        if turn:
            fastest = min(best.values())
            trials = [trial for trial in trials if best[trial.way.name] < HOPELESS * fastest]
    speeds = {name: size / taken for name, taken in best.items()}
    chosen = next(way for way in ways if way.name == max(speeds, key=lambda name: speeds[name]))
    shown = ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items())
    log(f"images/s in training: {shown}" + (f"; taking {chosen.name}" if len(ways) > 1 else ""))
    return Tune(chosen.precision, chosen.memory_format, speeds)


class Trial:
    """Training steps of a copy of the model, one way."""

    def __init__(
        self, way: Tune, model: nn.Module, task: Task, config: TrainConfig, batch: tuple[Tensor, Tensor],
        teacher: nn.Module | None, device: str | torch.device, images: int,
    ) -> None:  # fmt: skip
        x, y = batch
        self.way, self.task, self.device = way, task, device
        self.x, self.y = way.lay(x[:images]), y[:images]
        self.images = len(self.x)
        self.model = way.place(copy.deepcopy(model).train(), device)
        self.teacher = None if teacher is None else way.place(copy.deepcopy(teacher).eval(), device)
        options = config.to_json()
        # A rate at which nothing moves: the cost of a step does not depend on it, and the copy cannot diverge.
        self.optimizer = optimizers.build(config.optimizer, self.model, **{**options, "lr": 1e-12})

    def __enter__(self) -> "Trial":
        return self

    def __exit__(self, *_: object) -> None:
        del self.model, self.teacher, self.optimizer

    def step(self) -> float:
        """Seconds of one step."""
        synchronize(self.device)
        start = time.perf_counter()
        known = None
        with self.way.autocast(self.device):
            if self.teacher is not None:
                with torch.no_grad():
                    known = self.teacher(self.x).float()
            outputs = self.model(self.x)
        self.task.loss(outputs.float(), self.y, known).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        synchronize(self.device)
        return time.perf_counter() - start


def synchronize(device: str | torch.device) -> None:
    """Wait for an accelerator to finish what it was given."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)
