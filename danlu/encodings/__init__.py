"""How is a weight encoded? Masks, codebooks, signs and grids, as parametrisations that any training loop trains."""

from ._registry import encodings
from .base import Encoding, Levels, advance, bake, decode, encode, encoded, finish, settled
from .codebook import Codebook
from .grid import BlockGrid, Grid
from .mask import Mask
from .moving import MovingCodebook
from .penalty import Penalty
from .sign import Sign
from .weight_norm import WeightNorm

__all__ = [
    "BlockGrid",
    "Codebook",
    "Encoding",
    "Grid",
    "Levels",
    "Mask",
    "MovingCodebook",
    "Penalty",
    "Sign",
    "WeightNorm",
    "advance",
    "bake",
    "decode",
    "encode",
    "encoded",
    "encodings",
    "finish",
    "settled",
]
