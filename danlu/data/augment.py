"""Random crops and flips of a whole batch at once, on tensors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError, unknown

if TYPE_CHECKING:
    from .source import Source

LEVELS = ("auto", "none", "crop", "crop+flip")


@dataclass(frozen=True)
class Augment:
    """What is varied at random in training images.

    `crop`: pad with this many black pixels on every side, then cut the input size at a random place, all (2 crop + 1)^2
    equally likely. `flip`: mirror left and right with probability 1/2.
    """

    crop: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise UsageError(f"crop must be a number of pixels from 0, got {self.crop}")

    @classmethod
    def named(cls, level: str, source: "Source") -> "Augment":
        """The usual strengths: "none", "crop", "crop+flip" and "auto".

        The crop moves by an eighth of the short side, at least 1 pixel: 4 for 32x32, 1 for 8x8. "auto" crops, and flips
        where `source.flip` says that a mirror image keeps its class. Raises UsageError for another name.
        """
        if level not in LEVELS:
            raise unknown("augmentation", level, LEVELS)
        if level == "none":
            return cls()
        crop = max(1, round(min(source.input.size) / 8))
        return cls(crop, flip=level == "crop+flip" or (level == "auto" and source.flip))

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Augment a batch; the random numbers come from `rng` alone, so they do not depend on the device.

        Shape: uint8 [B, H, W, C] -> uint8 [B, H, W, C], a new tensor unless there is nothing to do.
        """
        if self.crop:
            top, left = rng.integers(0, 2 * self.crop + 1, (2, len(images)))
            images = shifted(images, torch.from_numpy(top), torch.from_numpy(left), self.crop)
        if self.flip:
            chosen = torch.from_numpy(np.flatnonzero(rng.random(len(images)) < 0.5)).to(images.device)
            if not self.crop:
                images = images.clone()
            images[chosen] = images[chosen].flip(2)
        return images


def shifted(images: Tensor, top: Tensor, left: Tensor, pad: int) -> Tensor:
    """Cut each image out of itself padded with `pad` zeros, at its own place.

        out[b, y, x] = padded[b, top[b] + y, left[b] + x]

    One gather: the padded batch is viewed as [B, place down, place right, H, W * C], overlapping in memory, and indexed
    by (b, top, left), which copies whole rows of W * C bytes.
    Shape: uint8 [B, H, W, C]; top, left int [B] in 0..2 pad.
    """
    b, h, w, c = images.shape
    padded = images.new_zeros(b, h + 2 * pad, w + 2 * pad, c)
    padded[:, pad : pad + h, pad : pad + w] = images
    image, row, pixel, _ = padded.stride()
    places = padded.as_strided((b, 2 * pad + 1, 2 * pad + 1, h, w * c), (image, row, pixel, row, 1))
    at = torch.arange(b, device=images.device), top.to(images.device), left.to(images.device)
    return places[at].view(b, h, w, c)
