"""Intersection over union: how well two boxes, or two regions of an image, cover each other.

    IoU(A, B) = |A n B| / |A u B|
    mean_iou  = (1 / K) sum_k TP_k / (TP_k + FP_k + FN_k)          over the classes that occur in the answers or the truth

Source: Jaccard 1912, https://doi.org/10.1111/j.1469-8137.1912.tb05611.x; for detection and segmentation Everingham et al. 2010,
The PASCAL visual object classes challenge, https://doi.org/10.1007/s11263-009-0275-4.
Differs: boxes are continuous, x2 - x1 wide; the first PASCAL tools counted pixels, x2 - x1 + 1.
"""

from typing import Any

import numpy as np
from torch import Tensor
from torchmetrics.functional import classification as over

from ..errors import UsageError
from ._inputs import finite, labels, tensor
from ._registry import metrics


def box_iou(a: Any, b: Any) -> np.ndarray:
    """The IoU of each box of `a` with each of `b`; 0 where both have no area.

    Shape: a [N, 4], b [M, 4], rows of x1, y1, x2, y2 -> float64 [N, M]
    Raises: UsageError for other shapes, none at all, and a box whose end lies before its start.
    """
    return overlap(boxes(a).T[:, :, None], boxes(b).T[:, None])


@metrics(kind="segment", higher_is_better=True, paper="doi:10.1007/s11263-009-0275-4")
def mean_iou(answers: Tensor, targets: Tensor, *, ignore: int | None = None) -> float:
    """The IoU of each class's pixels, all images together, averaged over the classes.

    Pixels whose truth is `ignore` do not count, such as the 255 around the objects of PASCAL VOC.
    Shape: answers int [...], targets int [...] -> float in 0 .. 1
    Raises: UsageError for shapes that differ, and where no pixel is left.
    """
    given, truth = labels(answers, "answers"), labels(targets)
    if given.shape != truth.shape:
        raise UsageError(f"answers and targets are classes of the same pixels, got {list(given.shape)} and {list(truth.shape)}")
    if ignore is not None:
        if ignore < 0:
            raise UsageError(f"mean_iou: ignore is a class from 0 on, got {ignore}")
        given, truth = given.to(truth.device)[truth != ignore], truth[truth != ignore]
        if not len(truth):
            raise UsageError(f"mean_iou: every pixel is of the class {ignore}, which does not count")
    count = max(int(max(given.max(), truth.max())) + 1, 2)
    return float(
        over.multiclass_jaccard_index(given.flatten(), truth.flatten().to(given.device), num_classes=count, validate_args=False)
    )


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The IoU of boxes side by side; coordinates come first, for speed. Shape: [4, ...] twice, broadcast -> [...]."""
    wide = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    high = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    shared = np.maximum(wide, 0) * np.maximum(high, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def boxes(values: Any) -> np.ndarray:
    """Boxes float64 [N, 4], checked."""
    found = finite(tensor(values, "boxes"), "boxes").double().cpu().numpy()
    if found.ndim != 2 or found.shape[1] != 4:
        raise UsageError(f"boxes are [N, 4], rows of x1, y1, x2, y2, got {list(found.shape)}")
    if (found[:, 2:] < found[:, :2]).any():
        raise UsageError("a box ends before it starts; rows are x1, y1, x2, y2, not x, y, width, height")
    return found
