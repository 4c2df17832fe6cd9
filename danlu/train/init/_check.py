"""Options of initialisations that cannot be."""

import math
from collections.abc import Sequence
from typing import Any

from ...errors import UsageError, unknown


def number(
    entry: str, option: str, value: Any, *, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> None:  # fmt: skip
    """Raise UsageError unless `value` is a finite number from `least`, above `above` and below `below`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not (least <= value and above < value < below):
        limits = [
            f"{word} {limit:g}" for word, limit in (("from", least), ("above", above), ("below", below)) if math.isfinite(limit)
        ]
        raise UsageError(f"{entry}: {option} must be {' and '.join(limits) or 'a finite number'}, got {value!r}")


def whole(entry: str, option: str, value: Any) -> None:
    """Raise UsageError unless `value` is a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{entry}: {option} must be a whole number from 1, got {value!r}")


def choice(entry: str, option: str, value: Any, allowed: Sequence[str]) -> None:
    """Raise UsageError unless `value` is one of the names."""
    if value not in allowed:
        raise unknown(f"{option} of {entry}", str(value), allowed)
