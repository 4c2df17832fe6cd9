"""L1: weights that do little go to zero.

    penalty = strength sum |w|          over the weights of convolutions and linear layers, not biases or norms

Its gradient is strength sign(w), as strong for a small weight as for a large one.

Source: Tibshirani 1996, Regression shrinkage and selection via the lasso, https://doi.org/10.1111/j.2517-6161.1996.tb02080.x.
"""

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ._registry import Regularizer, regularizers
from ._weights import weights_of


class L1(Regularizer):
    """The sum of the absolute weights, times `strength`."""

    def __init__(self, strength: float) -> None:
        if not strength > 0:
            raise UsageError(f"l1: strength must be above 0, got {strength}")
        self.strength = strength

    def penalty(self, model: nn.Module) -> Tensor | None:
        """strength * sum |w|."""
        weights = weights_of(model)
        return self.strength * torch.stack(torch._foreach_norm(weights, 1)).sum() if weights else None


@regularizers(paper="doi:10.1111/j.2517-6161.1996.tb02080.x")
def l1(*, strength: float = 1e-5) -> L1:
    """Add strength * sum |w| to the loss.

    Raises: UsageError unless strength > 0.
    """
    return L1(strength)
