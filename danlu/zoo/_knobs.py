"""The knobs that families share: their arithmetic and their limits. One name means one thing in every family."""

import math

from torch import nn

from ..errors import UsageError

MAX_WIDTH = 16.0
MAX_SIZE = 1024


def scaled(channels: int, width: float) -> int:
    """Published `channels` times `width`, to the nearest multiple of 8 and at least 8.

    width = 1 gives the published number, whatever it is. Below 1 the result is never above it, above 1 never below it, so
    that a narrower net has more channels nowhere: 6 channels at width 0.5 stay 6.

    Raises: UsageError unless 0 < width <= 16.
    """
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= MAX_WIDTH:
        raise UsageError(f"width is a factor on the published channels, above 0 and at most {MAX_WIDTH:g}; got {width!r}")
    if width == 1:
        return channels
    rounded = max(8, 8 * math.floor(channels * width / 8 + 0.5))
    return min(channels, rounded) if width < 1 else max(channels, rounded)


def dropout(share: float) -> nn.Dropout:
    """A dropout layer that zeroes this share of its input in training; UsageError unless 0 <= share < 1."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise UsageError(f"dropout is the share of units zeroed in training, at least 0 and below 1; got {share!r}")
    return nn.Dropout(share)


def side(net: str, size: int, smallest: int) -> int:
    """`size`, the height and width of the input of a net with a fixed input; UsageError unless smallest <= size <= 1024."""
    if isinstance(size, bool) or not isinstance(size, int) or not smallest <= size <= MAX_SIZE:
        raise UsageError(f"{net} takes square inputs from {smallest}x{smallest} to {MAX_SIZE}x{MAX_SIZE}, got size={size!r}")
    return size
