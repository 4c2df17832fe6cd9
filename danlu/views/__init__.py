"""What does a trained network do when something moves? Views of its robustness and of its shape, with numbers and a figure."""

from . import (  # noqa: F401  (each registers itself)
    layer_drop,
    layer_shuffle,
    linear_regions,
    loss_slice,
    one_pixel,
    sharpness,
    translation,
)
from ._registry import Subject, View, views
from .look import look
from .page import write_page

__all__ = ["Subject", "View", "look", "views", "write_page"]
