"""What can be changed in a net: one edit a file, a card (.md) beside it, and `edit`, which runs a recipe of them.

edit(model, "swap_activation(to='silu') | fold_bn").model
"""

from . import (
    add_exits,
    binarize,
    fit_input,
    fold_bn,
    low_rank,
    merge_branches,
    merge_streamline,
    prune,
    prune_channels,
    quantize_weights,
    share,
    slim,
    swap_activation,
    swap_norm,
)
from ._merge_rates import rates_of
from ._registry import edits
from .chain import edit
from .recipe import parse, show
from .reshape import fit_shapes
from .surgery import Change, Keep, Outcome

__all__ = [
    "Change",
    "Keep",
    "Outcome",
    "add_exits",
    "binarize",
    "edit",
    "edits",
    "fit_input",
    "fit_shapes",
    "fold_bn",
    "low_rank",
    "merge_branches",
    "merge_streamline",
    "parse",
    "prune",
    "prune_channels",
    "quantize_weights",
    "rates_of",
    "share",
    "show",
    "slim",
    "swap_activation",
    "swap_norm",
]
