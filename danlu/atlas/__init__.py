"""The atlas: what there is to start from and to change, how it looks, what came from what, and how it measures side by side."""

from .lineage import LINEAGE, idea_of, led_to
from .site import build_atlas

__all__ = ["LINEAGE", "build_atlas", "idea_of", "led_to"]
