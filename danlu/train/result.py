"""What a training gives back."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .autotune import Tune
from .plan import Plan


@dataclass(frozen=True)
class Fit:
    """A trained model and how it came about.

    `model` is a new one with the best weights, on the CPU, in eval mode. `history` has one row per validation: epoch (may be a
    fraction), step, seconds, lr, train_loss, train_accuracy, val_loss, val_accuracy, images_per_second. `seconds` counts all
    sessions of a resumed training. `stopped_early` says that patience ran out.
    """

    model: nn.Module = field(repr=False)
    history: list[dict[str, Any]] = field(repr=False)
    best_accuracy: float
    steps: int
    seconds: float
    plan: Plan
    tune: Tune
    stopped_early: bool
