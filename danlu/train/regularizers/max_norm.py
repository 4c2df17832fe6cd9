"""Max-norm: the weights into each unit stay inside a ball, so that a high learning rate cannot blow them up.

    w_u <- w_u min(1, limit / |w_u|)        w_u: the weights into unit u, a row of a matrix or the kernel of an output channel

A projection behind each update, not a penalty: inside the ball it does nothing. Made to go with dropout, whose noise wants large
rates.

Source: Srebro and Shraibman 2005, Rank, trace-norm and max-norm, COLT; with dropout: Srivastava et al. 2014, Dropout,
https://jmlr.org/papers/v15/srivastava14a.html (limits of 3 to 4).
"""

import torch
from torch import nn

from ...errors import UsageError
from ._registry import Regularizer, regularizers
from ._weights import incoming


class MaxNorm(Regularizer):
    """Keeps the L2 norm of the weights into each unit at or below `limit`."""

    def __init__(self, limit: float) -> None:
        if not limit > 0:
            raise UsageError(f"max_norm: limit must be above 0, got {limit}")
        self.limit = limit

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        """Project each unit's weights, in place."""
        for weight, units in incoming(model):
            norms = torch.linalg.vector_norm(weight, dim=[d for d in range(weight.ndim) if d != units], keepdim=True)
            weight.mul_((self.limit / norms).clamp_(max=1.0))


@regularizers(paper="https://jmlr.org/papers/v15/srivastava14a.html")
def max_norm(*, limit: float = 3.0) -> MaxNorm:
    """Keep the norm of the weights into each unit of convolutions and linear layers at or below a limit.

    Raises: UsageError unless limit > 0.
    """
    return MaxNorm(limit)
