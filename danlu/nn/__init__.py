"""Layers that several nets or edits share, one idea a file. A layer that only one family needs lives with that family."""

from ._registry import layers
from .binary_activation import BinaryActivation
from .concat import Concat
from .depthwise_separable import DepthwiseSeparable
from .early_exit import EarlyExit, ExitHead, ExitPoint, exit_entropy
from .pad_shortcut import PadShortcut

__all__ = [
    "BinaryActivation",
    "Concat",
    "DepthwiseSeparable",
    "EarlyExit",
    "ExitHead",
    "ExitPoint",
    "PadShortcut",
    "exit_entropy",
    "layers",
]
