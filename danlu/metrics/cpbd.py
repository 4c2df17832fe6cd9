"""CPBD, cumulative probability of blur detection: the share of an image's edges that look sharp, without a reference.

    P_blur(e) = 1 - exp(-(w(e) / w_JNB)^3.6),   CPBD = P(P_blur <= 63 %)

w(e) is the width of an edge in pixels, from the darkest to the brightest pixel along its row. w_JNB is the width at which blur
is just noticed: 5 pixels in blocks of 64x64 whose contrast is at most 50 of 255, 3 in others. 63 % is P_blur at w = w_JNB, so
CPBD is the share of the edges with w <= w_JNB. Edges are maxima along the row of the horizontal Sobel gradient, its square
above 4 times the mean; counted where the gradient is within 22.5 degrees of the row. Blocks with 0.2 % edge pixels or fewer
count nothing; an image without a counted edge has CPBD 0.

Source: Narvekar and Karam 2011, https://doi.org/10.1109/TIP.2011.2131660; the widths: Marziliano et al. 2002,
https://doi.org/10.1109/ICIP.2002.1038902.
Differs: the Sobel edges that are measured also decide which blocks have edges; the authors use Canny edges for that.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError
from ._inputs import pixels
from ._registry import metrics

BLOCK = 64
EDGE_SHARE = 0.002
LOW_CONTRAST = 50  # of 255; JNB widths are 5 up to it, 3 above
LONGEST = 101  # steps to one side of an edge
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@metrics(kind="image", higher_is_better=True, paper="doi:10.1109/TIP.2011.2131660")
def cpbd(images: Tensor, *, peak: float | None = None) -> float:
    """The share of edges that look sharp, the mean over the images. `peak` is the brightest value: 255 for uint8, 1 for floats.

    Shape: [B, 1, H, W] or [B, 3, H, W] -> float in 0 .. 1
    Raises: UsageError for other channels, and images below 64x64.
    """
    found = pixels(images, peak)
    if found.shape[1] not in (1, 3):
        raise UsageError(f"cpbd: images are grey or RGB, got {found.shape[1]} channels")
    if min(found.shape[2:]) < BLOCK:
        raise UsageError(f"cpbd: images must be {BLOCK}x{BLOCK} or larger, got {list(found.shape[2:])}")
    luma = found.new_tensor(LUMA if found.shape[1] == 3 else (1.0,))
    # One image at a time: the widths of a pixel need a dozen copies of it.
    return sum(sharp_share(255 * (image * luma[:, None, None]).sum(0)) for image in found) / len(found)


def sharp_share(image: Tensor) -> float:
    """CPBD of one image of 0 .. 255. Shape: [H, W]."""
    height, width = (side - side % BLOCK for side in image.shape)
    is_edge = edges(image)
    measured = (is_edge & upright(image))[:height, :width]
    width_of = widths(image)[:height, :width]
    blocks = image[:height, :width].unfold(0, BLOCK, BLOCK).unfold(1, BLOCK, BLOCK).flatten(2)
    contrast = (blocks.amax(2) - blocks.amin(2)).floor()
    edge_pixels = is_edge[:height, :width].unfold(0, BLOCK, BLOCK).unfold(1, BLOCK, BLOCK).sum((2, 3))
    noticed = torch.where(contrast <= LOW_CONTRAST, 5, 3)
    counted = measured & spread(edge_pixels > EDGE_SHARE * BLOCK * BLOCK)
    sharp = counted & (width_of <= spread(noticed))
    return int(sharp.sum()) / max(int(counted.sum()), 1)


def edges(image: Tensor) -> Tensor:
    """Where the horizontal Sobel gradient is strong, and strongest along its row (of two equal, the right).

    Shape: [H, W] -> bool
    """
    padded = F.pad(image[None, None], (1, 1, 1, 1), mode="replicate")
    slope = padded[..., 2:] - padded[..., :-2]
    strength = ((slope[..., :-2, :] + 2 * slope[..., 1:-1, :] + slope[..., 2:, :]) / 8)[0, 0].square()
    left, right = F.pad(strength, (1, 0))[:, :-1], F.pad(strength, (0, 1))[:, 1:]
    found = (strength > 4 * strength.mean()) & (left <= strength) & (strength > right)
    found[0] = found[-1] = False
    found[:, 0] = found[:, -1] = False
    return found


def upright(image: Tensor) -> Tensor:
    """Where the gradient points along the row, to 22.5 degrees. Shape: [H, W] -> bool."""
    down, along = torch.gradient(image)
    return (along != 0) & (down.abs() <= math.tan(math.pi / 8) * along.abs())


def widths(image: Tensor) -> Tensor:
    """Pixels from the end of the slope on the left of each pixel to its end on the right. Shape: [H, W] -> int [H, W]."""
    rising = torch.gradient(image)[1] > 0
    step = image[:, 1:] - image[:, :-1]  # step[:, c] leads from c to c + 1
    up, down = runs(step > 0), runs(step < 0)
    # A neighbour belongs to the slope; beyond it as far as the brightness goes on in the same direction.
    to_right = torch.where(rising, F.pad(up[:, 1:], (0, 2)), F.pad(down[:, 1:], (0, 2)))
    up, down = runs((step > 0).flip(1)).flip(1), runs((step < 0).flip(1)).flip(1)
    to_left = torch.where(rising, F.pad(up[:, :-1], (2, 0)), F.pad(down[:, :-1], (2, 0)))
    return to_left.clamp(max=LONGEST - 1) + to_right.clamp(max=LONGEST - 1) + 2


def runs(is_on: Tensor) -> Tensor:
    """How many in a row are on, from each place to the right. Shape: bool [H, W] -> int [H, W]."""
    size = is_on.shape[1]
    index = torch.arange(size, device=is_on.device).expand_as(is_on)
    off = torch.where(is_on, size, index).flip(1).cummin(1).values.flip(1)  # the next place that is off
    return off - index


def spread(of_blocks: Tensor) -> Tensor:
    """The value of each block at each of its pixels. Shape: [h, w] -> [h * BLOCK, w * BLOCK]."""
    return of_blocks.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
