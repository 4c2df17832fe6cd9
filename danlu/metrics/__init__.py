"""How good is it? Thin over torchmetrics, and what it lacks: intervals of an accuracy and of the difference of two."""

from .classification import classification_metrics
from .paired import paired_difference
from .wilson import wilson

__all__ = ["classification_metrics", "paired_difference", "wilson"]
