"""L1: weights that do little go to zero.

    penalty = strength sum |w|          over the weights of convolutions and linear layers, not biases or norms

Source: Tibshirani 1996, Regression shrinkage and selection via the lasso, https://doi.org/10.1111/j.2517-6161.1996.tb02080.x.
"""

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ._registry import Regularizer, regularizers


class L1(Regularizer):
    """The sum of the absolute weights, times `strength`."""

    def __init__(self, strength: float) -> None:
        if not strength > 0:
            raise UsageError(f"l1: strength must be above 0, got {strength}")
        self.strength = strength

    def penalty(self, model: nn.Module) -> Tensor | None:
        """strength * sum |w|."""
        weights = [parameter for parameter in model.parameters() if parameter.ndim > 1 and parameter.requires_grad]
        if not weights:
            return None
        return self.strength * torch.stack([weight.abs().sum() for weight in weights]).sum()


@regularizers(paper="doi:10.1111/j.2517-6161.1996.tb02080.x")
def l1(*, strength: float = 1e-5) -> L1:
    """Add strength * sum |w| to the loss."""
    return L1(strength)
