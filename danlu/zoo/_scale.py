"""The arithmetic of the knobs that every family shares."""

import math

from ..errors import UsageError

MAX_WIDTH = 16.0


def scaled(channels: int, width: float) -> int:
    """Published `channels` times `width`, to the nearest multiple of 8 and at least 8.

    width = 1 gives the published number, whatever it is. Below 1 the result is never above it, above 1 never below it, so
    that a narrower net has never more channels anywhere: 6 channels at width 0.5 stay 6.

    Raises: UsageError unless 0 < width <= 16.
    """
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= MAX_WIDTH:
        raise UsageError(f"width is a factor on the published channels, above 0 and at most {MAX_WIDTH:g}; got {width!r}")
    rounded = max(8, 8 * math.floor(channels * width / 8 + 0.5))
    if width == 1:
        return channels
    return min(channels, rounded) if width < 1 else max(channels, rounded)
