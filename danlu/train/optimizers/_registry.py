"""Where optimisers register: `@optimizers(lr=..., growth=..., decay=..., paper=...)` on a function
`name(groups, *, options...) -> torch.optim.Optimizer`.

    lr       the default rate at 128 images a step
    growth   how it grows with the batch: rate = lr (batch / 128) ** growth
    plain    True: a fifth of the rate where the net has no normalisation
    decay    weight decay is "coupled": added to the gradient, and so scaled by whatever the optimiser does with gradients;
             or "decoupled": w <- (1 - rate weight_decay) w, beside the step

The parameters `lr`, `momentum`, `nesterov` and `model` are filled in by the training where they are not written.
"""

from collections.abc import Callable
from typing import Any

import torch

from ...errors import UsageError
from ...registry import Registry

optimizers: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer")

Groups = list[dict[str, Any]]
CONTEXT = ("lr", "momentum", "nesterov", "model")


def shares(name: str, **options: float) -> None:
    """Raise UsageError unless every option is from 0 and below 1."""
    for option, value in options.items():
        if not 0 <= value < 1:
            raise UsageError(f"{name}: {option} must be from 0 and below 1, got {value}")


def above_zero(name: str, **options: float) -> None:
    """Raise UsageError unless every option is above 0."""
    for option, value in options.items():
        if not value > 0:
            raise UsageError(f"{name}: {option} must be above 0, got {value}")
