"""The sinusoid: an activation that goes up and down, so that one unit can answer a periodic pattern.

    y = sin(omega x)

Source: Parascandolo et al. 2017, Taming the waves: sine as activation function in deep neural networks,
https://openreview.net/forum?id=Sks3zF9eg; the factor omega: Sitzmann et al. 2020, https://arxiv.org/abs/2006.09661.
"""

import torch
from torch import Tensor

from ...errors import UsageError
from .._registry import layers
from ._registry import Activation, activations


@layers(paper="arxiv:2006.09661")
class Sinusoid(Activation):
    """sin(omega x). Shape: any -> the same. Raises: UsageError for an omega that is not above 0."""

    def __init__(self, omega: float = 1.0) -> None:
        super().__init__()
        if not omega > 0:
            raise UsageError(f"sinusoid: omega must be above 0, got {omega:g}")
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        """Shape: any -> the same."""
        return torch.sin(self.omega * x)

    def extra_repr(self) -> str:
        """Its argument."""
        return f"{self.omega:g}"


@activations(paper="arxiv:2006.09661")
def sinusoid(*, omega: float = 1.0) -> Sinusoid:
    """sin(omega x).

    Raises: UsageError for an omega that is not above 0.
    """
    return Sinusoid(omega)
