"""Blended, cut, covered and relabelled training images, one idea a file."""

from . import cutmix, cutout, disturb_labels, mixup  # noqa: F401  (each registers itself)
from ._registry import Mixing, mixings

__all__ = ["Mixing", "mixings"]
