"""A weight as symbols: few values, an index for each weight. Taken from its encoding, or found in the weight itself.

Tables are tidied before they are stored: values that no weight has are dropped, equal ones merged, zero comes first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..encodings import Levels
from .tables import look_up

MOST_FOUND = 256
SAMPLE = 4096


@dataclass(frozen=True)
class Symbolic:
    """weight[c, ...] = scale[c] table[g, indices[c, ...]]; with `zero`, table[:, 0] is 0.

    Shape: indices as the weight, uint8 or uint16; table [G, K] float32, its columns in ascending order of the first row
    (after the zero); scale [C] or None.
    """

    indices: NDArray[np.unsignedinteger]
    table: NDArray[np.float32]
    scale: NDArray[np.float32] | None
    zero: bool
    axis: int

    def weight(self) -> NDArray[np.float32]:
        """What is stored, as plain numbers."""
        out = np.empty(self.indices.shape, np.float32)
        look_up(self.indices, self.table, self.scale, self.axis, out)
        return out


def from_levels(levels: Levels) -> Symbolic:
    """An encoding's symbols, tidied."""
    table = levels.table.detach().cpu().float().numpy()
    indices = levels.indices.detach().cpu()
    scale = None if levels.scale is None else levels.scale.detach().cpu().float().numpy()
    if scale is not None and scale.min() == scale.max():
        table, scale = table * scale[0], None
    used = (
        np.bincount(indices.numpy().ravel(), minlength=table.shape[1]) > 0 if indices.numel() < 2**24 else _used(indices, table)
    )
    return tidied(indices.numpy(), table, used, scale, levels.axis)


def _used(indices: Tensor, table: NDArray[np.float32]) -> NDArray[np.bool_]:
    used = np.zeros(table.shape[1], bool)
    for part in indices.flatten().split(2**24):
        used |= np.bincount(part.numpy(), minlength=len(used)) > 0
    return used


def tidied(
    indices: NDArray[np.integer], table: NDArray[np.float32], used: NDArray[np.bool_],
    scale: NDArray[np.float32] | None, axis: int,
) -> Symbolic:  # fmt: skip
    """Drop what is not used, merge what is equal, sort, zero first."""
    table = table + np.float32(0)  # -0 becomes 0
    columns, merged = np.unique(table[:, used], axis=1, return_inverse=True)
    zeros = np.flatnonzero((columns == 0).all(axis=0))
    zero = len(zeros) == 1
    order = np.arange(columns.shape[1])
    if zero:
        order = np.concatenate([zeros, np.delete(order, zeros)])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    small = np.uint8 if len(order) <= 256 else np.uint16
    new = np.zeros(len(used), small)
    new[used] = rank[merged.reshape(-1)].astype(small)
    return Symbolic(new[indices], np.ascontiguousarray(columns[:, order]), scale, zero, axis)


def found(weight: NDArray[np.float32]) -> Symbolic | None:
    """The symbols of a weight of few values, or None when it has too many for a table to pay."""
    flat = weight.ravel()
    most = min(MOST_FOUND, flat.size // 4)
    values = np.unique(flat[:: max(1, flat.size // SAMPLE)])
    if len(values) > most:
        return None
    values = np.unique(flat) if flat.size <= 2**20 else _values(flat, most)
    if len(values) > most:
        return None
    values = np.unique(values + np.float32(0))
    indices = np.empty(flat.size, np.uint8)
    for start in range(0, flat.size, 2**22):
        indices[start : start + 2**22] = np.searchsorted(values, flat[start : start + 2**22])
    return tidied(indices.reshape(weight.shape), values[None], np.ones(len(values), bool), None, 0)


def _values(flat: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """The different values, or as many as show that there are too many."""
    values = np.empty(0, np.float32)
    for start in range(0, flat.size, 2**20):
        part = flat[start : start + 2**20]
        if len(values):
            near = values[np.minimum(np.searchsorted(values, part), len(values) - 1)]
            part = part[near != part]
        values = np.unique(np.concatenate([values, part]))
        if len(values) > most:
            break
    return values
