"""L2: large weights cost more than small ones, so that no few of them decide alone.

    penalty = strength / 2 sum w^2          over the weights of convolutions and linear layers, not biases or norms

Its gradient is strength w. That is what `weight_decay` of the same strength adds in sgd, momentum, adam and the others whose
decay is listed as coupled; there the two are one, and the optimiser's costs nothing. Both together add up: train with
weight_decay=0. In adamw, whose decay is decoupled, the two differ: the penalty goes through the division by the second moment,
and hardly pulls at weights whose gradients are large.

Source: Krogh and Hertz 1991, A simple weight decay can improve generalization, NIPS 4; Loshchilov and Hutter 2017 on the two
decays, https://arxiv.org/abs/1711.05101.
"""

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ._registry import Regularizer, regularizers
from ._weights import weights_of


class L2(Regularizer):
    """Half the sum of the squared weights, times `strength`."""

    def __init__(self, strength: float) -> None:
        if not strength > 0:
            raise UsageError(f"l2: strength must be above 0, got {strength}")
        self.strength = strength

    def penalty(self, model: nn.Module) -> Tensor | None:
        """strength / 2 * sum w^2."""
        weights = weights_of(model)
        return self.strength / 2 * torch.stack(torch._foreach_norm(weights)).square().sum() if weights else None


@regularizers(paper="arxiv:1711.05101")
def l2(*, strength: float = 5e-4) -> L2:
    """Add strength / 2 * sum w^2 to the loss.

    Raises: UsageError unless strength > 0.
    """
    return L2(strength)
