"""Where schedules register: `@schedules(paper=...)` on a function `name(step, total, *, options...) -> float`, the factor of
the base rate at `step` of `total`, from 0 to 1.

    warms_up=True   it begins low by itself: no warm-up is put before it
    own=True        its options are its own: the settings period, gamma, milestones and power of a training are not filled in

Lengths are shares of the training up to 1, and steps above, so that a schedule keeps its shape when the number of steps changes
and can still be given as a paper or a solver file has it.
"""

from collections.abc import Callable

from ...errors import UsageError
from ...registry import Registry

schedules: Registry[Callable[..., float]] = Registry("schedule")

CONTEXT = ("period", "gamma", "milestones", "power")  # settings of their own


def length(name: str, option: str, value: float, total: int) -> float:
    """A length in steps. Raises UsageError unless it is above 0."""
    if not value > 0:
        raise UsageError(f"{name}: {option} must be above 0 (a share of the training up to 1, steps above), got {value}")
    return value * total if value <= 1 else value


def within(name: str, option: str, value: float, low: float, high: float) -> None:
    """Raise UsageError unless low <= value <= high."""
    if not low <= value <= high:
        raise UsageError(f"{name}: {option} must be from {low:g} to {high:g}, got {value}")
