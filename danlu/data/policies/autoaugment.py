"""AutoAugment: 25 sub-policies of two operations each, found by a search; for each image one of them is drawn.

    (operation, probability, magnitude): with the probability apply the operation; magnitudes 0 to 9 divide its range evenly

    shear 0 to 0.3, translate 0 to 150/331 of the side, rotate 0 to 30 degrees, each to either side by a coin
    brightness, colour, contrast, sharpness: factors from 0.1 to 1.9      solarize: thresholds from 256 down to 0
    posterize: from 8 bits down to 4                                      autocontrast, equalize, invert: no magnitude

Source: Cubuk et al. 2018, https://arxiv.org/abs/1805.09501, tables 6 and 7.
Differs: what is turned in from outside is grey (128) instead of the mean of the data set. The cutout that the paper has behind
the policy is a mixing: mix="cutout(size=16)".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...errors import UsageError
from .operations import IDENTITY, OPERATIONS, SIGNED, applied

Step = tuple[str, float, int]
STRONGEST = 9


def enhancement(share: float) -> float:
    """The factor of an enhancement: 0.1 to 1.9."""
    return 0.1 + 1.8 * share


AMOUNTS: dict[str, Callable[[float], float]] = {
    "shear_x": lambda share: 0.3 * share,
    "shear_y": lambda share: 0.3 * share,
    "translate_x": lambda share: 150 / 331 * share,
    "translate_y": lambda share: 150 / 331 * share,
    "rotate": lambda share: 30 * share,
    "brightness": enhancement,
    "colour": enhancement,
    "contrast": enhancement,
    "sharpness": enhancement,
    "posterize": lambda share: 8 - round(4 * share),
    "solarize": lambda share: 256 * (1 - share),
    "autocontrast": lambda share: 0.0,
    "equalize": lambda share: 0.0,
    "invert": lambda share: 0.0,
}

CIFAR10: tuple[tuple[Step, Step], ...] = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("colour", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("colour", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("colour", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("colour", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("colour", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)


@dataclass(frozen=True)
class AutoAugment:
    """A policy: sub-policies of as many steps each. The published one for CIFAR-10 unless another is given.

    Raises: UsageError for a step that cannot be.
    """

    policy: tuple[tuple[Step, ...], ...] = CIFAR10

    def __post_init__(self) -> None:
        if not self.policy or len({len(steps) for steps in self.policy}) != 1:
            raise UsageError("a policy has at least one sub-policy, and all of them have as many steps")
        for steps in self.policy:
            for name, probability, magnitude in steps:
                if name not in OPERATIONS:
                    raise UsageError(f"a policy knows the operations {', '.join(OPERATIONS)}, got {name!r}")
                if not 0 <= probability <= 1 or not 0 <= magnitude <= STRONGEST:
                    raise UsageError(f"{name}: probability 0 to 1, magnitude 0 to {STRONGEST}; got {probability}, {magnitude}")

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Shape: uint8 [B, H, W, C] -> the same; what an image becomes depends on it and on its own draws alone."""
        count, depth = len(images), len(self.policy[0])
        chosen = rng.integers(0, len(self.policy), count)
        acts, signs = rng.random((depth, count)), rng.integers(0, 2, (depth, count)) * 2 - 1
        names = [*OPERATIONS, IDENTITY]
        for act, sign, step in zip(acts, signs, zip(*self.policy, strict=True), strict=True):
            codes = np.array([names.index(name) for name, _, _ in step])[chosen]
            chances = np.array([probability for _, probability, _ in step])[chosen]
            amounts = np.array([AMOUNTS[name](magnitude / STRONGEST) for name, _, magnitude in step])[chosen]
            signed = np.array([name in SIGNED for name, _, _ in step])[chosen]
            codes = np.where(act < chances, codes, names.index(IDENTITY))
            images = applied(images, names, codes, np.where(signed, amounts * sign, amounts))
        return images
