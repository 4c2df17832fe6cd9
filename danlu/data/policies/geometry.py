"""Shears, shifts and turns of a batch, each image by its own amount; the nearest pixel is taken, outside is grey.

    out[b, y, x] = images[b, floor(v), floor(u)],   (u, v) = maps[b] (x + 1/2, y + 1/2, 1)

Pixels lie between whole numbers, as in Pillow: (1/2, 1/2) is the middle of the first one.
Shape of all: uint8 [B, H, W, C], amount float [B] -> uint8 [B, H, W, C].

Source: Pillow's Image.transform(AFFINE) and Image.rotate, with which AutoAugment and RandAugment were made.
"""

import torch
from torch import Tensor

GREY = 128


def shear_x(images: Tensor, amount: Tensor) -> Tensor:
    """Rows slide along: u = x + amount y."""
    return mapped(images, *_identity(amount, xy=amount))


def shear_y(images: Tensor, amount: Tensor) -> Tensor:
    """Columns slide along: v = amount x + y."""
    return mapped(images, *_identity(amount, yx=amount))


def translate_x(images: Tensor, amount: Tensor) -> Tensor:
    """To the left by whole pixels: `amount` is a share of the width."""
    return mapped(images, *_identity(amount, x=(amount * images.shape[2]).trunc()))


def translate_y(images: Tensor, amount: Tensor) -> Tensor:
    """Upwards by whole pixels: `amount` is a share of the height."""
    return mapped(images, *_identity(amount, y=(amount * images.shape[1]).trunc()))


def rotate(images: Tensor, amount: Tensor) -> Tensor:
    """Counterclockwise around the middle, by degrees."""
    _, height, width, _ = images.shape
    angle = -amount.deg2rad()
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2 - cos * width / 2 - sin * height / 2, height / 2 + sin * width / 2 - cos * height / 2
    return mapped(images, torch.stack([cos, sin, x], 1), torch.stack([-sin, cos, y], 1))


def mapped(images: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Each image seen through its own affine map. Shape: u, v float [B, 3], the rows of the maps."""
    count, height, width, channels = images.shape
    x = torch.arange(width, dtype=u.dtype, device=images.device) + 0.5
    y = torch.arange(height, dtype=u.dtype, device=images.device)[:, None] + 0.5
    column, row = ((m[:, 0, None, None] * x + m[:, 1, None, None] * y + m[:, 2, None, None]).floor_().long() for m in (u, v))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    image = torch.arange(count, device=images.device)[:, None, None]
    place = ((image * height + row) * width + column).masked_fill_(~inside, count * height * width)
    pixels = torch.cat([images.reshape(-1, channels), images.new_full((1, channels), GREY)])
    return pixels.index_select(0, place.view(-1)).view(images.shape)


def _identity(
    amount: Tensor, xy: Tensor | float = 0.0, yx: Tensor | float = 0.0, x: Tensor | float = 0.0, y: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The rows of the maps that change nothing but what is given."""
    one, zero = torch.ones_like(amount), torch.zeros_like(amount)
    return torch.stack([one, zero + xy, zero + x], 1), torch.stack([zero + yx, one, zero + y], 1)
