"""What do I learn from? Sources of images, their splits, health and cache; decoding, augmentation and batches."""

from .augment import Augment
from .decoding import decode, resize
from .feed import batches
from .health import DataError, Health
from .normalise import normalizations
from .source import Source, Split, load_data
from .spec import Input

__all__ = [
    "Augment",
    "DataError",
    "Health",
    "Input",
    "Source",
    "Split",
    "batches",
    "decode",
    "load_data",
    "normalizations",
    "resize",
]
