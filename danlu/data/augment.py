"""Random changes of a whole batch of training images at once, on tensors: crops, flips, maps, colours, policies.

    "auto"  "none"  "crop+flip"  "crop+flip+resize+rotate+colour"  "randaugment(n=2, m=9)"  "affine(degrees=8)"

A level is parts joined by +, each once, each with options or without; they act in the order of the fields of `Augment`.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError
from ..registry import Registry
from ..spec import read
from .policies import AutoAugment, RandAugment
from .policies import colour as enhance

if TYPE_CHECKING:
    from .source import Source

Policy = AutoAugment | RandAugment
Fields = dict[str, Any]
LONGEST = math.log(4 / 3)  # sides of a resized piece
augmentations: Registry[Callable[..., Fields]] = Registry("augmentation")
"""Parts of a level. An entry gives fields of `Augment`; None stands for what suits the images."""


@dataclass(frozen=True)
class Augment:
    """What is varied at random in training images, in this order.

    `crop`: pad with this many black pixels on every side, then cut the input size at a random place, all (2 crop + 1)^2
    equally likely. `flip`: mirror left and right with probability 1/2. `resize`: cut out a piece of at least this share of the
    area, its sides at most 4:3 or 3:4 of the image's, anywhere, and bring it back to size; 1 is off. `rotate`: turn by up to
    this many degrees to either side. `affine`: turn by up to this many degrees, scale each axis by up to degrees / 100, shear
    by up to half the angle and shift by up to degrees / 200 of the side, each drawn evenly from both directions: 10 is 10
    degrees, 10 %, 5 degrees, 5 %. `colour`: brightness, contrast and saturation times factors from 1 - colour to 1 + colour.
    `policy`: what it says.

    Resized and turned pictures go on outside with the pixels of their edges, affine ones in black, as glyphs do.
    """

    crop: int = 0
    flip: bool = False
    resize: float = 1.0
    rotate: float = 0.0
    affine: float = 0.0
    colour: float = 0.0
    policy: Policy | None = None

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise UsageError(f"crop must be a number of pixels from 0, got {self.crop}")
        if not 0 <= self.affine <= 45:
            raise UsageError(f"affine must be degrees from 0 to 45, got {self.affine}")
        if not 0 < self.resize <= 1:
            raise UsageError(f"resize must be a share of the area above 0 and at most 1, got {self.resize}")
        if not 0 <= self.rotate <= 180:
            raise UsageError(f"rotate must be degrees from 0 to 180, got {self.rotate}")
        if not 0 <= self.colour <= 1:
            raise UsageError(f"colour must be a strength from 0 to 1, got {self.colour}")

    @classmethod
    def named(cls, level: str, source: "Source") -> "Augment":
        """A level by its parts: see `augmentations`, or `danlu list augmentations`.

        The crop moves by an eighth of the short side, at least 1 pixel: 4 for 32x32, 1 for 8x8. "auto" crops, and flips where
        `source.flip` says that a mirror image keeps its class; a policy alone comes behind these two, as in its paper.

        Raises: UsageError for an unknown part or option, and for parts that do the same.
        """
        fields = fields_of(level)
        if "crop" in fields and fields["crop"] is None:
            fields["crop"] = max(1, round(min(source.input.size) / 8))
        if "flip" in fields and fields["flip"] is None:
            fields["flip"] = source.flip
        return cls(**fields)

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Augment a batch; the random numbers come from `rng` alone, so they do not depend on the device.

        What an image becomes depends on itself and on its place in the batch, not on the other images.
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
        maps = []
        if self.resize < 1:
            maps.append(self._pieces(len(images), rng))
        if self.rotate:
            maps.append(self._turns(len(images), images.shape[2] / images.shape[1], rng))
        if self.affine:
            maps.append(self._maps(len(images), rng))
        if maps:
            images = warped(images, chained(maps), "zeros" if self.affine else "border")
        if self.colour:
            for change in (enhance.brightness, enhance.contrast, enhance.colour):
                factors = rng.uniform(1 - self.colour, 1 + self.colour, len(images)).astype(np.float32)
                images = change(images, torch.from_numpy(factors).to(images.device))
        return images if self.policy is None else self.policy(images, rng)

    def _pieces(self, count: int, rng: np.random.Generator) -> Tensor:
        """Maps onto random pieces: area and, on a scale of ratios, shape drawn evenly. Shape: [count, 2, 3]."""
        area, shape = rng.uniform(self.resize, 1, count), np.exp(rng.uniform(-LONGEST, LONGEST, count))
        wide, tall = np.minimum(np.sqrt(area * shape), 1), np.minimum(np.sqrt(area / shape), 1)
        right, down = rng.uniform(-1, 1, (2, count))
        none = np.zeros(count)
        return _stacked([[wide, none, (1 - wide) * right], [none, tall, (1 - tall) * down]])

    def _turns(self, count: int, ratio: float, rng: np.random.Generator) -> Tensor:
        """Maps that turn, in pixels as wide as high. Shape: [count, 2, 3]."""
        angle = np.radians(rng.uniform(-self.rotate, self.rotate, count))
        cos, sin, none = np.cos(angle), np.sin(angle), np.zeros(count)
        return _stacked([[cos, -sin / ratio, none], [sin * ratio, cos, none]])

    def _maps(self, count: int, rng: np.random.Generator) -> Tensor:
        """Random maps from output to input places, both in -1..1. Shape: [count, 2, 3]."""
        turn, shear, tall, wide, down, right = rng.uniform(-1, 1, (6, count))
        angle, lean = np.radians(self.affine) * turn, np.radians(self.affine) / 2 * shear
        tall, wide = 1 + self.affine / 100 * tall, 1 + self.affine / 100 * wide
        shift = self.affine / 100  # -1..1 is two halves of a side
        cos, sin, tan = np.cos(angle), np.sin(angle), np.tan(lean)
        return _stacked(
            [[wide * cos, tall * (tan * cos - sin), shift * right], [wide * sin, tall * (tan * sin + cos), shift * down]]
        )


@augmentations(paper="")
def none() -> Fields:
    """Nothing."""
    return {}


@augmentations(paper="")
def auto() -> Fields:
    """Crop, and flip where a mirror image keeps its class."""
    return {"crop": None, "flip": None}


@augmentations(paper="arxiv:1512.03385")
def crop(*, pixels: int = 0) -> Fields:
    """Pad with black `pixels`, an eighth of the short side if 0, and cut at a random place."""
    if pixels < 0:
        raise UsageError(f"crop: pixels must be from 0, got {pixels}")
    return {"crop": pixels or None}


@augmentations(paper="")
def flip() -> Fields:
    """Mirror left and right every second time."""
    return {"flip": True}


@augmentations(paper="arxiv:1409.4842")
def resize(*, area: float = 0.08) -> Fields:
    """Cut out a piece of `area` to all of the image, at most 4:3 or 3:4, and bring it back to size (GoogLeNet)."""
    return {"resize": area}


@augmentations(paper="")
def rotate(*, degrees: float = 10.0) -> Fields:
    """Turn by up to so many degrees to either side."""
    return {"rotate": degrees}


@augmentations(paper="")
def affine(*, degrees: float = 12.0) -> Fields:
    """Turn, scale, shear and shift a little, on black: for glyphs."""
    return {"affine": degrees}


@augmentations(paper="arxiv:1312.5402")
def colour(*, strength: float = 0.4) -> Fields:
    """Brightness, contrast and saturation times factors from 1 - strength to 1 + strength."""
    return {"colour": strength}


@augmentations(paper="arxiv:1909.13719")
def randaugment(*, n: int = 2, m: float = 9.0) -> Fields:
    """`n` operations drawn for each image, of magnitude `m` from 0 to 10."""
    return {"policy": RandAugment(n, m)}


@augmentations(paper="arxiv:1805.09501")
def autoaugment() -> Fields:
    """The policy of two operations an image that a search found for CIFAR-10."""
    return {"policy": AutoAugment()}


def fields_of(level: str) -> Fields:
    """What a level says of `Augment`, None where it depends on the images. Raises UsageError as `Augment.named` does."""
    if not isinstance(level, str):
        raise UsageError(f"augmentation is written as text, such as 'crop+flip', got {level!r}")
    parts = [part.strip() for part in re.split(r"\+(?![^(]*\))", level)]
    fields: Fields = {}
    for part in parts:
        if not part:
            raise UsageError(f"augmentation {level!r} has an empty part; write 'crop+flip'")
        found = read(augmentations, part)()
        twice = fields.keys() & found.keys()
        if twice:
            raise UsageError(f"augmentation {level!r} says {' and '.join(sorted(twice))} twice")
        fields |= found
    if len(parts) == 1 and "policy" in fields:
        fields |= auto()
    Augment(**{name: value for name, value in fields.items() if value is not None})
    return fields


def chained(maps: list[Tensor]) -> Tensor:
    """Affine maps one behind the other as one. Shape: [B, 2, 3] each -> [B, 2, 3]."""
    whole = maps[0]
    for later in maps[1:]:
        # The image is seen through the first, what that shows through the next: out(p) = in(first(next(p))).
        turned = whole[:, :, :2] @ later
        whole = torch.cat([turned[:, :, :2], turned[:, :, 2:] + whole[:, :, 2:]], 2)
    return whole


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


def warped(images: Tensor, maps: Tensor, outside: str = "zeros") -> Tensor:
    """Each image seen through its own affine map, bilinear; outside black ("zeros"), or the edge ("border").

        out[b, p] = images[b, maps[b] (p, 1)]       p: places in -1..1, x before y, the corners of the image at the ends

    Shape: uint8 [B, H, W, C]; maps float [B, 2, 3] -> uint8 [B, H, W, C].
    """
    b, h, w, c = images.shape
    grid = F.affine_grid(maps.to(images.device), [b, c, h, w], align_corners=False)
    pictures = images.permute(0, 3, 1, 2).float()
    moved = F.grid_sample(pictures, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    return moved.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _stacked(rows: list[list[np.ndarray]]) -> Tensor:
    """Entries of a batch of matrices, each [B]. Shape: -> float32 [B, rows, columns]."""
    return torch.from_numpy(np.stack([np.stack(row, -1) for row in rows], 1).astype(np.float32))
