"""Which coder makes the positions of the non-zeros smallest."""

from collections.abc import Callable

import numpy as np

from ...errors import UsageError
from . import blocks, context, gaps
from .damaged import Damaged
from .symbols import entropy_bits

ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "gaps": gaps.encode_gaps,
    "bitmap": gaps.encode_bitmap,
    "blocks": blocks.encode,
    "context": context.encode,
}
DECODERS: dict[str, Callable[[bytes, tuple[int, int]], np.ndarray]] = {
    "gaps": gaps.decode_gaps,
    "bitmap": gaps.decode_bitmap,
    "blocks": blocks.decode,
    "context": context.decode,
}
TRY_ALL = 1 << 20  # cells; of a larger mask only the coder with the smallest computed size is run
MOST_GAPS = 0.25  # density above which gaps cannot win over bits


def encode_positions(mask: np.ndarray, *, fast: bool = False) -> tuple[str, bytes]:
    """The smallest coding of where `mask` [rows, columns] is true: (name of the coder, data).

    `fast` leaves out the context coder, which decodes about a million cells a second where the others do over 20 million:
    for nets of many million weights in small layers.
    """
    if mask.ndim != 2 or mask.dtype != bool:
        raise UsageError(f"a mask is 2-D and boolean, got {mask.ndim}-D {mask.dtype}")
    ones = int(np.count_nonzero(mask))
    names = ["gaps", "bitmap", "blocks"] if ones <= MOST_GAPS * mask.size else ["bitmap", "blocks"]
    if mask.size > TRY_ALL:
        bits = {"bitmap": entropy_bits(np.array([mask.size - ones, ones])), "blocks": blocks.choose(mask)[0]}
        if "gaps" in names:
            bits["gaps"] = gaps.choose_gaps(gaps.gaps_of(mask))[0]
        names = [min(bits, key=lambda name: bits[name])]
    if ones and not fast and context.fits(int(mask.any(1).sum()), int(mask.any(0).sum())):
        names.append("context")
    coded = [(name, ENCODERS[name](mask)) for name in names]
    return min(coded, key=lambda pair: len(pair[1]))


def decode_positions(coder: str, data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """What `encode_positions` coded: bool [rows, columns]; Damaged when the data cannot be that."""
    if coder not in DECODERS:
        raise Damaged(f"there is no position coder {coder!r}; known: {', '.join(DECODERS)}")
    return DECODERS[coder](data, shape)
