"""DisturbLabel: some labels of each batch are wrong on purpose, so that no image can be learnt by heart.

    t' = one-hot of a class drawn evenly from all K, with probability `rate`, else t

The right class may be drawn too: a label stays right with probability 1 - rate + rate / K.

Source: Xie et al. 2016, DisturbLabel, https://arxiv.org/abs/1605.00055 (rates of 0.1 to 0.2).
"""

import torch
from torch import Tensor

from ...errors import UsageError
from ._registry import Mixing, mixings


@mixings(paper="arxiv:1605.00055")
def disturb_labels(*, rate: float = 0.1) -> Mixing:
    """Replace the label of each image by one drawn from all classes, with probability `rate`.

    Raises: UsageError unless 0 < rate < 1.
    """
    if not 0 < rate < 1:
        raise UsageError(f"disturb_labels: rate must lie between 0 and 1, got {rate}")

    def mix(x: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        count, classes = targets.shape
        disturbed = torch.rand(count, 1, generator=generator) < rate
        drawn = torch.randint(classes, (count,), generator=generator)
        wrong = torch.nn.functional.one_hot(drawn, classes).to(targets)
        return x, torch.where(disturbed.to(x.device), wrong, targets)

    return mix
