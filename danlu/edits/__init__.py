"""What can be changed in a net: one edit a file, a card (.md) beside it, and `edit`, which runs a recipe of them.

edit(model, "swap_activation(to='silu') | fold_bn").model
"""

from . import fit_input, fold_bn, prune_channels, swap_activation, swap_norm
from ._registry import edits
from .chain import edit
from .recipe import parse, show
from .reshape import fit_shapes
from .surgery import Change, Keep, Outcome

__all__ = [
    "Change",
    "Keep",
    "Outcome",
    "edit",
    "edits",
    "fit_input",
    "fit_shapes",
    "fold_bn",
    "parse",
    "prune_channels",
    "show",
    "swap_activation",
    "swap_norm",
]
