"""An exponential moving average of the weights, to be validated and kept in their place.

    average <- d average + (1 - d) weights,  d = min(decay, (1 + t) / (10 + t))

t counts the updates: young averages forget quickly, so that the random start does not linger. Running statistics of normalisation
are not averaged but copied: they are averages already.

Source: Polyak and Juditsky 1992, https://doi.org/10.1137/0330046; the warm-up is that of TensorFlow's ExponentialMovingAverage.
"""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """The average of `model`, as a second model in eval mode."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = model
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, t: int) -> None:
        """Take in the weights after update number `t`, counted from 0."""
        decay = min(self.decay, (1 + t) / (10 + t))
        get_ema_multi_avg_fn(decay)(list(self.model.parameters()), [p.detach() for p in self._live.parameters()], t)

    @torch.no_grad()
    def sync(self) -> nn.Module:
        """The averaged model, with the buffers as they are now."""
        for kept, now in zip(self.model.buffers(), self._live.buffers(), strict=True):
            kept.copy_(now)
        return self.model
