"""Brightness, contrast, colour, sharpness, and tables of grey values, for a batch, each image by its own amount.

    enhancement   out = floor(d + amount (x - d)) within 0 and 255; d: black, the mean grey, the grey image, the smoothed image.
                  1 changes nothing, 0 gives d, above 1 goes away from d
    table         out = t_bc[x], one table of 256 values for each image and channel

Shape of all: uint8 [B, H, W, C], amount float [B] -> uint8 [B, H, W, C]. Grey is 0.299 R + 0.587 G + 0.114 B of three channels,
and the one channel itself; images with another number of channels have no grey: their mean over the channels stands for it.

Source: Pillow's ImageEnhance and ImageOps, with which AutoAugment and RandAugment were made.
Differs: whole numbers where Pillow rounds in floating point: now and then a value is one more or less.
"""

import torch
from torch import Tensor

SHADES = 256


def brightness(images: Tensor, amount: Tensor) -> Tensor:
    """From black (0) over the image (1) to brighter."""
    return blended(torch.zeros_like(images), images, amount)


def contrast(images: Tensor, amount: Tensor) -> Tensor:
    """From the mean grey (0) over the image (1) to more contrast."""
    shades = grey(images).flatten(1)
    mean = torch.div(2 * shades.sum(1) + shades.shape[1], 2 * shades.shape[1], rounding_mode="floor")  # rounded, halves up
    return blended(mean.view(-1, 1, 1, 1), images, amount)


def colour(images: Tensor, amount: Tensor) -> Tensor:
    """From grey (0) over the image (1) to stronger colours; an image with one channel stays."""
    return blended(grey(images), images, amount)


def sharpness(images: Tensor, amount: Tensor) -> Tensor:
    """From smoothed (0) over the image (1) to sharper: the smoothed pixel is (4 x + the sum of the 3x3 around it) / 13."""
    if min(images.shape[1:3]) < 3:
        return images.clone()
    x = images.to(torch.int16)
    rows = x[:, :-2] + x[:, 1:-1] + x[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * x[:, 1:-1, 1:-1]
    smooth = images.clone()
    smooth[:, 1:-1, 1:-1] = torch.div(total * 2 + 13, 26, rounding_mode="floor").to(torch.uint8)
    return blended(smooth, images, amount)


def invert(images: Tensor, amount: Tensor) -> Tensor:
    """255 - x, whatever the amount."""
    return 255 - images


def solarize(images: Tensor, amount: Tensor) -> Tensor:
    """Invert what is not darker than the amount; 256 changes nothing."""
    return torch.where(images < amount.view(-1, 1, 1, 1), images, 255 - images)


def posterize(images: Tensor, amount: Tensor) -> Tensor:
    """Keep so many of the eight bits, from the top."""
    dropped = 8 - amount.round().clamp(0, 8).to(torch.uint8)
    return images & (255 << dropped.to(torch.int16)).to(torch.uint8).view(-1, 1, 1, 1)


def autocontrast(images: Tensor, amount: Tensor) -> Tensor:
    """Stretch each channel from its darkest pixel at 0 to its lightest at 255; a channel of one value stays."""
    low, high = (extreme.long()[:, :, None] for extreme in (images.amin((1, 2)), images.amax((1, 2))))
    shades = torch.arange(SHADES, device=images.device)
    stretched = torch.div((shades - low) * 255, (high - low).clamp_min(1), rounding_mode="floor").clamp_(0, 255)
    return looked_up(images, torch.where(high > low, stretched, shades))


def equalize(images: Tensor, amount: Tensor) -> Tensor:
    """Make the values of each channel about equally frequent."""
    tables = _histograms(images)
    values = torch.arange(SHADES, device=images.device)
    last = torch.where(tables > 0, values, 0).amax(-1, keepdim=True)
    step = torch.div(tables.sum(-1, keepdim=True) - tables.gather(-1, last), 255, rounding_mode="floor")
    below = tables.cumsum(-1) - tables
    spread = torch.div(step // 2 + below, step.clamp_min(1), rounding_mode="floor").clamp_(max=255)
    return looked_up(images, torch.where(step > 0, spread, values))


def blended(first: Tensor, second: Tensor, amount: Tensor) -> Tensor:
    """first + amount (second - first), cut to 0..255 and down to a whole number."""
    first = first.float()
    return (first + amount.view(-1, 1, 1, 1) * (second.float() - first)).clamp_(0, 255).to(torch.uint8)


def grey(images: Tensor) -> Tensor:
    """The grey image. Shape: uint8 [B, H, W, C] -> uint8 [B, H, W, 1]."""
    channels = images.shape[-1]
    if channels == 3:
        weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32, device=images.device)  # of 2 ** 16, as Pillow has them
        total = (images.to(torch.int32) * weights).sum(-1, keepdim=True, dtype=torch.int32)
        return (total + 2**15).bitwise_right_shift_(16).to(torch.uint8)
    return images if channels == 1 else images.float().mean(-1, keepdim=True).to(torch.uint8)


def looked_up(images: Tensor, tables: Tensor) -> Tensor:
    """Each value through the table of its image and channel. Shape: tables [B, C, 256]."""
    return tables.to(torch.uint8).view(-1).index_select(0, _codes(images).view(-1)).view(images.shape)


def _codes(images: Tensor) -> Tensor:
    """Each value with the number of its table: (b C + c) 256 + x. Shape: int64 [B, H, W, C]."""
    count, _, _, channels = images.shape
    tables = torch.arange(count * channels, device=images.device).view(count, 1, 1, channels)
    return tables * SHADES + images


def _histograms(images: Tensor) -> Tensor:
    """How often each value is there. Shape: uint8 [B, H, W, C] -> int64 [B, C, 256]."""
    count, _, _, channels = images.shape
    return torch.bincount(_codes(images).view(-1), minlength=count * channels * SHADES).view(count, channels, SHADES)
