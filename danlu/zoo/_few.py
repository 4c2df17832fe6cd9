"""`width` for nets of a handful of channels, which steps of eight would not scale at all."""

import math

from ._knobs import scaled


def few(channels: int, width: float) -> int:
    """Published `channels` times `width`, to the nearest whole number, at least 1.

    Raises: UsageError unless 0 < width <= 16.
    """
    scaled(channels, width)  # has the same limits
    return max(1, math.floor(channels * width + 0.5))
