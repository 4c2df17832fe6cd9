"""Layers that several nets or edits share, one idea a file. A layer that only one family needs lives with that family."""

from ._registry import layers
from .depthwise_separable import DepthwiseSeparable
from .pad_shortcut import PadShortcut

__all__ = ["DepthwiseSeparable", "PadShortcut", "layers"]
