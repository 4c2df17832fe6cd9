"""In which order are a tensor's positions listed? Rows of outputs, rows of inputs, or rows of kernel places.

0   [out, the rest]            dimensions as they are
1   [in, the rest]             the first two dimensions swapped
2   [kernel places, out in]    the dimensions after the second first
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYOUTS = (0, 1, 2)


def order(dimensions: int, layout: int) -> tuple[int, ...]:
    """The dimensions in the order of the layout; as they are where it makes no difference."""
    if layout == 1 and dimensions >= 2:
        return (1, 0, *range(2, dimensions))
    if layout == 2 and dimensions >= 3:
        return (*range(2, dimensions), 0, 1)
    return tuple(range(dimensions))


def rows(shape: tuple[int, ...], layout: int) -> tuple[int, int]:
    """[rows, columns] of the positions. A tensor of one dimension is one row."""
    total = int(np.prod(shape, dtype=np.int64))
    if len(shape) < 2:
        return 1, total
    if layout == 2 and len(shape) >= 3:
        columns = shape[0] * shape[1]
    else:
        columns = total // max(1, shape[order(len(shape), layout)[0]])
    return (total // columns if columns else 0), columns


def as_rows(tensor: NDArray[Any], layout: int) -> NDArray[Any]:
    """The tensor as [rows, columns]; a view where numpy can give one."""
    return tensor.transpose(order(tensor.ndim, layout)).reshape(rows(tensor.shape, layout))
