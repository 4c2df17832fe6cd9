"""CutMix: paste a rectangle of another image into each, and blend their labels by the areas.

    rectangle   H sqrt(1 - l) high, W sqrt(1 - l) wide, l ~ Beta(alpha, alpha), its centre anywhere; what is outside is cut off
    t' = s t_i + (1 - s) t_j,   s = 1 - area of the rectangle / (H W)

One rectangle and one partner a batch, as in the paper. No pixel is lost, as with cutout, and none is blended, as with mixup.

Source: Yun et al. 2019, https://arxiv.org/abs/1905.04899: alpha 1, for every batch on ImageNet, for half of them on CIFAR.
"""

import torch
from torch import Tensor

from ...errors import UsageError
from ._draws import beta
from ._registry import Mixing, mixings


@mixings(paper="arxiv:1905.04899")
def cutmix(*, alpha: float = 1.0, chance: float = 1.0) -> Mixing:
    """Paste a rectangle of another image of the batch into each; `chance` is the share of the batches in which that is done.

    Raises: UsageError unless alpha > 0 and 0 < chance <= 1.
    """
    if not alpha > 0:
        raise UsageError(f"cutmix: alpha must be above 0, got {alpha}")
    if not 0 < chance <= 1:
        raise UsageError(f"cutmix: chance must be above 0 and at most 1, got {chance}")

    def mix(x: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        height, width = x.shape[-2:]
        drawn, row, column = torch.rand(3, generator=generator).tolist()
        side = (1 - beta(alpha, generator)) ** 0.5
        other = torch.randperm(len(x), generator=generator).to(x.device)
        if drawn >= chance:
            return x, targets
        top, bottom = _span(row, side, height)
        left, right = _span(column, side, width)
        mixed = x.clone()
        mixed[..., top:bottom, left:right] = x[other, ..., top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return mixed, share * targets + (1 - share) * targets[other]

    return mix


def _span(centre: float, share: float, size: int) -> tuple[int, int]:
    """From where to where a stretch of `share` of the size goes, around a pixel."""
    length, middle = int(share * size), int(centre * size)
    return max(middle - length // 2, 0), min(middle - length // 2 + length, size)
