"""Choosing the input from the images: size, resize rule, channels, and whether a mirror image still belongs to its class."""

from collections.abc import Collection, Sequence

import numpy as np

from ..errors import UsageError, unknown
from .decoding import GREY_MODES
from .spec import RESIZES

NATIVE_UP_TO = 64
SMALLEST, LARGEST, STEP = 32, 224, 32
NEAR_SQUARE = 1.15
MAX_SIZE = 2048


def choose_size(widths: np.ndarray, heights: np.ndarray) -> tuple[int, int]:
    """(H, W) for images of these sizes.

    When all have one size, and it is at most 64 pixels, that size. Else a square: the median short side, rounded down to a
    multiple of 32, within 32..224.
    """
    if _one_size(widths, heights) and max(widths[0], heights[0]) <= NATIVE_UP_TO:
        return int(heights[0]), int(widths[0])
    short = float(np.median(np.minimum(widths, heights)))
    side = min(max(int(short) // STEP * STEP, SMALLEST), LARGEST)
    return side, side


def choose_resize(widths: np.ndarray, heights: np.ndarray) -> str:
    """ "stretch" when all images have one size, or the median of long / short side is at most 1.15; else "short_side_crop"."""
    ratio = float(np.median(np.maximum(widths, heights) / np.minimum(widths, heights)))
    return "stretch" if _one_size(widths, heights) or ratio <= NEAR_SQUARE else "short_side_crop"


def choose_channels(modes: Collection[str]) -> int:
    """1 when every image is stored as grey (Pillow's 1, L, LA, I, I;16, F); else 3."""
    return 1 if all(mode in GREY_MODES for mode in modes) else 3


def choose_flip(channels: int, classes: Sequence[str]) -> bool:
    """Whether a horizontal flip keeps the class: yes for colour pictures, no for grey ones and for glyphs.

    Grey sets are mostly digits, letters, scans: a mirrored 2 is no 2. Of colour sets, those whose class names are all
    single characters (house numbers, letters) are taken for glyphs; and where a class is named left or right a mirror
    image would change it.
    """
    glyphs = all(len(name) == 1 for name in classes)
    words = {word for name in classes for word in name.casefold().replace("-", "_").replace(" ", "_").split("_")}
    return channels == 3 and not glyphs and not words & {"left", "right"}


def check_choice(size: int | tuple[int, int] | None, resize: str | None, channels: int | None) -> None:
    """Raise UsageError for a size, resize rule or number of channels that cannot be."""
    if size is not None:
        as_pair(size)
    if resize is not None and resize not in RESIZES:
        raise unknown("resize", str(resize), RESIZES)
    if channels not in (None, 1, 3):
        raise UsageError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}")


def as_pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """32 -> (32, 32); (H, W) as it is. Raises UsageError outside 1..2048."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MAX_SIZE for n in pair):
        raise UsageError(f"size must be a number of pixels or (height, width), each in 1..{MAX_SIZE}, got {size!r}")
    return pair[0], pair[1]


def _one_size(widths: np.ndarray, heights: np.ndarray) -> bool:
    return bool((widths == widths[0]).all() and (heights == heights[0]).all())
