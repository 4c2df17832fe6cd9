"""What a network is asked to make small: losses, one idea a file."""

from . import cross_entropy  # noqa: F401  (each registers its losses)
from ._registry import TASKS, losses

__all__ = ["TASKS", "losses"]
