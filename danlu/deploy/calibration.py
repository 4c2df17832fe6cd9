"""The images that int8 ranges are measured on: a shuffled sample of the training split, as the network sees it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..data.spec import Input

if TYPE_CHECKING:
    from ..data import Split

COUNT = 256
BATCH = 32


def calibration_batches(split: "Split", input: Input, *, count: int = COUNT, seed: int = 0) -> Iterator[np.ndarray]:
    """Up to `count` images of `split` in batches, never augmented. Shape: float32 [B, C, H, W], normalised by `input`."""
    from ..data import batches

    left = count
    for x, _ in batches(split, input, BATCH, shuffle=True, seed=seed, channels_last=False):
        yield x[:left].numpy()
        left -= len(x)
        if left <= 0:
            return
