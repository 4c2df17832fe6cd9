"""RandAugment: n operations, drawn evenly for each image, all with the same magnitude m: two numbers instead of a search.

    identity, autocontrast, equalize, rotate, solarize, colour, posterize, contrast, brightness, sharpness, shear and translate in
    x and y; m from 0 to 10, the ranges of AutoAugment

Source: Cubuk et al. 2019, https://arxiv.org/abs/1909.13719: n 2, m 9 for ResNet-50 on ImageNet; n 3, m 5 for Wide-ResNet-28-10 on
CIFAR-10.
Differs: a factor of brightness, colour, contrast or sharpness is 1 - 0.9 m / 10 or 1 + 0.9 m / 10 by a coin, so that a larger m
is always a stronger change; the authors' is 0.1 + 1.8 m / 10. m ends at 10, where they also went on beyond the ranges. What is
turned in from outside is grey. Autocontrast and equalize have no magnitude: they act at 0, too.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...errors import UsageError
from .autoaugment import AMOUNTS
from .operations import IDENTITY, SIGNED, applied

NAMES = (
    IDENTITY, "autocontrast", "equalize", "rotate", "solarize", "colour", "posterize", "contrast", "brightness", "sharpness",
    "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
ENHANCEMENTS = ("brightness", "colour", "contrast", "sharpness")
STRONGEST, WIDEST = 10, 0.9


@dataclass(frozen=True)
class RandAugment:
    """`n` operations of magnitude `m` for each image.

    Raises: UsageError unless n is from 1 and m from 0 to 10.
    """

    n: int = 2
    m: float = 9

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UsageError(f"randaugment: n must be a number of operations from 1, got {self.n}")
        if not 0 <= self.m <= STRONGEST:
            raise UsageError(f"randaugment: m must be a magnitude from 0 to {STRONGEST}, got {self.m}")

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Shape: uint8 [B, H, W, C] -> the same; what an image becomes depends on it and on its own draws alone."""
        drawn = rng.integers(0, len(NAMES), (self.n, len(images)))
        signs = rng.integers(0, 2, (self.n, len(images))) * 2 - 1
        low, high = (np.array([self._amount(name, sign) for name in NAMES]) for sign in (-1, 1))
        for which, sign in zip(drawn, signs, strict=True):
            images = applied(images, NAMES, which, np.where(sign < 0, low[which], high[which]))
        return images

    def _amount(self, name: str, sign: int) -> float:
        """What the magnitude is worth, to one side or the other."""
        share = self.m / STRONGEST
        if name in ENHANCEMENTS:
            return 1 + sign * WIDEST * share
        amount = AMOUNTS[name](share) if name in AMOUNTS else 0.0
        return sign * amount if name in SIGNED else amount
