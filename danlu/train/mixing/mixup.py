"""Mixup: train on blends of two images, with the same blend of their labels.

    x' = l x_i + (1 - l) x_j,   t' = l t_i + (1 - l) t_j,   l ~ Beta(alpha, alpha), one for the batch

Source: Zhang et al. 2017, https://arxiv.org/abs/1710.09412.
"""

import torch
from torch import Tensor

from ...errors import UsageError
from ._draws import beta
from ._registry import Mixing, mixings


@mixings(paper="arxiv:1710.09412")
def mixup(*, alpha: float = 0.2) -> Mixing:
    """Blend each image with another of its batch, and their labels with them.

    Raises: UsageError unless alpha > 0.
    """
    if not alpha > 0:
        raise UsageError(f"mixup: alpha must be above 0, got {alpha}")

    def mix(x: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        share = beta(alpha, generator)
        other = torch.randperm(len(x), generator=generator).to(x.device)
        return share * x + (1 - share) * x[other], share * targets + (1 - share) * targets[other]

    return mix
