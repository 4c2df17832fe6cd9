"""EliSH and HardEliSH: an exponential linear unit behind a gate; found by a genetic search over activations.

    elish(x)      = elu(x) sigmoid(x)                           x / (1 + e^-x) above 0, (e^x - 1) / (1 + e^-x) below
    hard_elish(x) = elu(x) clip((x + 1) / 2, 0, 1)              0 below -1

Source: Basirat & Roth 2018, The quest for the golden activation function, https://arxiv.org/abs/1808.00783.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .._registry import layers
from ._registry import Activation, activations


@layers(paper="arxiv:1808.00783")
class ELiSH(Activation):
    """elu(x) sigmoid(x). Shape: any -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: any -> the same."""
        return F.elu(x) * torch.sigmoid(x)


@layers(paper="arxiv:1808.00783")
class HardELiSH(Activation):
    """elu(x) times a ramp from -1 to 1. Shape: any -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape: any -> the same."""
        return F.elu(x) * ((x + 1) / 2).clamp(0, 1)


@activations(paper="arxiv:1808.00783")
def elish() -> ELiSH:
    """EliSH: elu(x) sigmoid(x)."""
    return ELiSH()


@activations(paper="arxiv:1808.00783")
def hard_elish() -> HardELiSH:
    """HardEliSH: elu(x) clip((x + 1) / 2, 0, 1)."""
    return HardELiSH()
