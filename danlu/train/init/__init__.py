"""Where weights start from, one idea a file."""

from . import he  # noqa: F401  (each registers itself)
from ._registry import inits

__all__ = ["inits"]
