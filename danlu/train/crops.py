"""An image judged by several crops of it: centre, corners or a grid, and their mirror images; taken from a larger image.

    H' = round(scale H);   5 crops: the corners and the centre;   k k crops: top_i = round(i (H' - H) / (k - 1)), i = 0 .. k - 1

and so along the width. 10 crops are the 5 and their mirror images, 2 k k those of a grid and theirs. The image is resized to
H' x W' from its file, by the resize rule of training; the crops have the size that the network was trained at. With `whole` the
network sees the larger image itself, as one crop.

Source: 10 crops: Krizhevsky et al. 2012, section 4.1, 224 of 256; grids: Szegedy et al. 2014, https://arxiv.org/abs/1409.4842,
section 7; testing at a larger scale than training: Chen et al. 2017, https://arxiv.org/abs/1707.01629, section 4.
Differs: Szegedy's 144 crops are of four sizes; here all are of one.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError

MARGIN = 7  # the side over this is what an image is larger by where no scale is given: 224 + 32 = 256
MOST = 10_000


@dataclass(frozen=True)
class Crops:
    """How many crops, of an image `scale` times the input; None: 8 / 7 for crops at several places, else 1.

    Raises: UsageError for a number of crops that is neither 5, 10, k k nor 2 k k, a scale outside [1, 16], or
    `whole` with several places.
    """

    count: int = 1
    scale: float | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST or (self.count not in (5, 10) and not _grids(self.count)):
            near = sorted((n for n in range(1, 4 * MOST) if n in (5, 10) or _grids(n)), key=lambda n: abs(n - self.count))[:2]
            raise UsageError(
                f"crops must be 5, 10, a square k*k or twice a square, at most {MOST:,}; got {self.count}, "
                f"the nearest are {' and '.join(map(str, sorted(near)))}"
            )
        if self.scale is not None and not (math.isfinite(self.scale) and 1 <= self.scale <= 16):
            raise UsageError(f"scale must be from 1 to 16, the larger image over the input, got {self.scale}")
        if self.whole and self.count > 2:
            raise UsageError(
                f"the whole image has no other places: crops must be 1, or 2 with its mirror image, got {self.count}"
            )

    @property
    def plain(self) -> bool:
        """Whether this is the one image as in training."""
        return self.count == 1 and self.scale in (None, 1)

    @property
    def mirrored(self) -> bool:
        """Whether mirror images are among the crops."""
        return self.count == 10 or (self.count != 5 and not _is_square(self.count))

    @property
    def side(self) -> int:
        """Places along a side of the grid; those of the corners are on a grid of 2."""
        return 2 if self.count in (5, 10) else math.isqrt(self.count // (2 if self.mirrored else 1))

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H', W') of the image that the crops of `size` (H, W) are taken from."""
        if self.scale is not None:
            return round(self.scale * size[0]), round(self.scale * size[1])
        if self.side == 1:
            return size
        least = 2 if self.count in (5, 10) else self.side - 1  # pixels that it takes for no two crops to be the same
        return size[0] + max(round(size[0] / MARGIN), least), size[1] + max(round(size[1] / MARGIN), least)

    def fed(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of what the network sees."""
        return self.resized(size) if self.whole else size

    def places(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """(top, left) of the crops of `size` in the resized image, without the mirror images.

        Raises: UsageError where two of them would be the same.
        """
        if self.whole:
            return [(0, 0)]
        (height, width), larger = size, self.resized(size)
        down, across = larger[0] - height, larger[1] - width
        if self.side == 1:
            return [(down // 2, across // 2)]
        tops, lefts = ([_rounded(i * gap, self.side - 1) for i in range(self.side)] for gap in (down, across))
        found = [(top, left) for top in tops for left in lefts]
        if self.count in (5, 10):
            found.append((down // 2, across // 2))
        if len(set(found)) < len(found):
            raise UsageError(
                f"{self.count} crops of {height}x{width} in an image of {larger[0]}x{larger[1]} are not all different; "
                f"use a larger scale or fewer crops"
            )
        return found

    def cut(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """All crops of each image, the mirror images last. Shape: [B, H', W', C] -> [crops, B, H, W, C]."""
        height, width = self.fed(size)
        crops = torch.stack([images[:, top : top + height, left : left + width] for top, left in self.places(size)])
        return torch.cat([crops, crops.flip(3)]) if self.mirrored else crops

    def __str__(self) -> str:
        said = "the whole image" if self.whole else "1 crop" if self.count == 1 else f"{self.count} crops"
        said += " and its mirror image" if self.whole and self.mirrored else ""
        return said if self.scale is None else f"{said} at scale {self.scale:g}"


def _is_square(n: int) -> bool:
    return math.isqrt(n) ** 2 == n


def _grids(n: int) -> bool:
    return _is_square(n) or (n % 2 == 0 and _is_square(n // 2))


def _rounded(numerator: int, by: int) -> int:
    """numerator / by to the nearest whole number, halves up."""
    return (2 * numerator + by) // (2 * by)
