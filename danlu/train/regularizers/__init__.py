"""What keeps a network from learning its training images by heart, one idea a file."""

from . import l1  # noqa: F401  (each registers itself)
from ._registry import Regularizer, regularizers

__all__ = ["Regularizer", "regularizers"]
