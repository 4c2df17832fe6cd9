"""Cutout: cover a square of each image, so that the net must look at more than the one part that gives a class away.

    x'[y, x] = 0 inside a square of `size` pixels around a random pixel; what is outside of the image is cut off

After normalisation 0 is the mean of the images. The labels stay.

Source: DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552: 16 pixels for CIFAR-10, 8 for CIFAR-100, of 32.
"""

import torch
from torch import Tensor

from ...errors import UsageError
from ._registry import Mixing, mixings


@mixings(paper="arxiv:1708.04552")
def cutout(*, size: int = 16) -> Mixing:
    """Cover a square of each image, elsewhere in each.

    Raises: UsageError unless size is from 1, and when a batch comes whose images are no larger than the square.
    """
    if size < 1:
        raise UsageError(f"cutout: size must be a number of pixels from 1, got {size}")

    def mix(x: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        height, width = x.shape[-2:]
        if size >= max(height, width):
            raise UsageError(
                f"cutout: a square of {size} pixels can cover a whole image of {height}x{width}; half the side is usual"
            )
        draws = torch.rand(2, len(x), 1, generator=generator)
        covered = _near(draws[0], size, height)[:, :, None] & _near(draws[1], size, width)[:, None, :]
        return x * covered[:, None].logical_not().to(x), targets

    return mix


def _near(draws: Tensor, size: int, side: int) -> Tensor:
    """Which pixels of a side are within the square's. Shape: draws [B, 1] -> bool [B, side]."""
    first = (draws * side).long() - size // 2
    pixels = torch.arange(side)
    return (pixels >= first) & (pixels < first + size)
