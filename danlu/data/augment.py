"""Random crops, flips and small affine maps of a whole batch at once, on tensors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError, unknown

if TYPE_CHECKING:
    from .source import Source

LEVELS = ("auto", "none", "crop", "crop+flip", "affine")


@dataclass(frozen=True)
class Augment:
    """What is varied at random in training images.

    `crop`: pad with this many black pixels on every side, then cut the input size at a random place, all (2 crop + 1)^2
    equally likely. `flip`: mirror left and right with probability 1/2. `affine`: turn by up to this many degrees, scale each
    axis by up to degrees / 100, shear by up to half the angle and shift by up to degrees / 200 of the side, each drawn evenly
    from both directions: 10 is 10 degrees, 10 %, 5 degrees, 5 %.
    """

    crop: int = 0
    flip: bool = False
    affine: float = 0.0

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise UsageError(f"crop must be a number of pixels from 0, got {self.crop}")
        if not 0 <= self.affine <= 45:
            raise UsageError(f"affine must be degrees from 0 to 45, got {self.affine}")

    @classmethod
    def named(cls, level: str, source: "Source") -> "Augment":
        """The usual strengths: "none", "crop", "crop+flip", "affine" and "auto".

        The crop moves by an eighth of the short side, at least 1 pixel: 4 for 32x32, 1 for 8x8. "auto" crops, and flips
        where `source.flip` says that a mirror image keeps its class. "affine" is for glyphs: maps of 12 degrees, no flip.
        Raises UsageError for another name.
        """
        if level not in LEVELS:
            raise unknown("augmentation", level, LEVELS)
        if level == "none":
            return cls()
        if level == "affine":
            return cls(affine=12.0)
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
        if self.affine:
            images = warped(images, self._maps(len(images), rng))
        return images

    def _maps(self, count: int, rng: np.random.Generator) -> Tensor:
        """Random maps from output to input places, both in -1..1. Shape: [count, 2, 3]."""
        turn, shear, tall, wide, down, right = rng.uniform(-1, 1, (6, count))
        angle, lean = np.radians(self.affine) * turn, np.radians(self.affine) / 2 * shear
        tall, wide = 1 + self.affine / 100 * tall, 1 + self.affine / 100 * wide
        shift = self.affine / 100  # -1..1 is two halves of a side
        cos, sin, tan = np.cos(angle), np.sin(angle), np.tan(lean)
        rows = [[wide * cos, tall * (tan * cos - sin), shift * right], [wide * sin, tall * (tan * sin + cos), shift * down]]
        return torch.from_numpy(np.stack([np.stack(row, -1) for row in rows], 1).astype(np.float32))


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


def warped(images: Tensor, maps: Tensor) -> Tensor:
    """Each image seen through its own affine map, bilinear, black outside.

        out[b, p] = images[b, maps[b] (p, 1)]       p: places in -1..1, x before y, the corners of the image at the ends

    Shape: uint8 [B, H, W, C]; maps float [B, 2, 3] -> uint8 [B, H, W, C].
    """
    b, h, w, c = images.shape
    grid = F.affine_grid(maps.to(images.device), [b, c, h, w], align_corners=False)
    pictures = images.permute(0, 3, 1, 2).float()
    moved = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
