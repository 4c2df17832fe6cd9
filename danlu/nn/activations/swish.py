"""Swish: the input times a gate that the input opens itself; found by a search over compositions of functions.

    y = x sigmoid(beta x)           beta 0: x / 2;  beta 1: SiLU;  beta large: ReLU

Source: Ramachandran et al. 2017, https://arxiv.org/abs/1710.05941.
"""

import torch
from torch import Tensor, nn

from .._registry import layers
from ._registry import Activation, activations


@layers(paper="arxiv:1710.05941")
class Swish(Activation):
    """x sigmoid(beta x), `beta` learned, one for the layer, or with `learned` False fixed. Shape: any -> the same."""

    def __init__(
        self, beta: float = 1.0, learned: bool = True, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.beta, self.learned = beta, learned
        self.weight = nn.Parameter(torch.full((1,), beta, device=device, dtype=dtype)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        """Shape: any -> the same."""
        return x * torch.sigmoid(x * (self.beta if self.weight is None else self.weight))

    def extra_repr(self) -> str:
        """Its arguments."""
        return f"{self.beta:g}, learned={self.learned}"


@activations(paper="arxiv:1710.05941")
def swish(*, beta: float = 1.0, learned: bool = True) -> Swish:
    """x sigmoid(beta x); beta is learned, one for the layer, unless `learned` is False."""
    return Swish(beta, learned)
