"""Average precision: how early in the ranking the right ones come, and how many are missed.

    p(r) = max of the precisions at a recall >= r                          the interpolated precision
    "eleven"   AP = (1/11) sum of p(r) over r in {0, 0.1, .., 1}           PASCAL VOC to 2009
    "all"      AP = (1/M) sum over the M objects of p(m / M)               from VOC 2010 on: the area below p(r)
    mean_ap    the mean of AP over the classes that have an object

A detection is right when the object of its image and class that it covers best has an IoU of at least `iou` with it, and no
detection of a higher score has that object. The others, doubles among them, are wrong.

Ties: detections of equal score enter the ranking together, so that no order among them counts.
Source: Everingham et al. 2010, The PASCAL visual object classes challenge, https://doi.org/10.1007/s11263-009-0275-4, and the
development kits of 2007 and 2010.
Differs: there are no difficult or crowd objects; boxes are continuous (see `iou`). COCO lets a detection fall back on its second
best object, and takes 101 points of recall.
"""

from typing import Any, Literal

import numpy as np
from torch import Tensor

from ..errors import UsageError, unknown
from ._inputs import ranked, tensor
from ._registry import metrics
from .curves import counts
from .iou import boxes, overlap

Points = Literal["all", "eleven"]
POINTS = ("all", "eleven")


@metrics(kind="verify", higher_is_better=True, paper="doi:10.1007/s11263-009-0275-4")
def average_precision(scores: Tensor, targets: Tensor, *, points: Points = "all", positives: int | None = None) -> float:
    """The interpolated average precision of one ranked list.

    `positives` is the number of objects there are, found or not; by default the true targets are all.
    Shape: scores [N], targets bool or 0/1 [N] (right or not) -> float in 0 .. 1
    Raises: UsageError without an object to find, for fewer `positives` than true targets, and for other points.
    """
    if points not in POINTS:
        raise unknown("points", points, POINTS)
    given, truth = ranked(scores, targets)
    found = int(truth.sum())
    if positives is not None and positives < found:
        raise UsageError(f"{found} targets are true, more than positives={positives}")
    if not (found if positives is None else positives):
        raise UsageError("average_precision: there is nothing to find, no target is true")
    return interpolated(given, truth, found if positives is None else positives, points)


@metrics(kind="detect", higher_is_better=True, paper="doi:10.1007/s11263-009-0275-4")
def mean_ap(detections: Tensor, truths: Tensor, *, iou: float = 0.5, points: Points = "all") -> float:
    """Average precision of a detector, the mean over the classes that have an object.

    Shape: detections [N, 7] rows of image, class, score, x1, y1, x2, y2 (N may be 0); truths [M, 6] without the score -> float
    Raises: UsageError without an object, for rows of another length, images or classes that are not whole numbers from 0 on,
        boxes that end before they start, other points, and an iou outside (0, 1].
    """
    if points not in POINTS:
        raise unknown("points", points, POINTS)
    if not 0 < iou <= 1:
        raise UsageError(f"mean_ap: iou must lie in (0, 1], got {iou}")
    found, objects = columns(detections, 7, "detections"), columns(truths, 6, "truths")
    if not objects.size:
        raise UsageError("mean_ap: there is no object to find, truths is empty")
    right = matched(found, objects, iou)
    by_class = np.argsort(found[1], kind="stable")
    classes, scores, right = found[1][by_class], found[2][by_class], right[by_class]
    of_class, positives = np.unique(objects[1], return_counts=True)
    starts, ends = np.searchsorted(classes, of_class), np.searchsorted(classes, of_class, side="right")
    each = [
        interpolated(scores[start:end], right[start:end], int(count), points) if end > start else 0.0
        for start, end, count in zip(starts, ends, positives, strict=True)
    ]
    return float(np.mean(each))


def interpolated(scores: np.ndarray, right: np.ndarray, positives: int, points: str) -> float:
    """AP of a ranked list in which `right` of `positives` are found. Shape: both [N]."""
    true, false, _ = counts(scores, right)
    best = np.maximum.accumulate((true / (true + false))[::-1])[::-1]  # p at each recall of the list
    if points == "all":
        return float((np.diff(true, prepend=0) * best).sum() / positives)
    # recall >= i / 10 in whole numbers: 3 / 10 and 0.3 differ in the last bit.
    reached = np.searchsorted(10 * true, np.arange(11) * positives)
    return float(np.append(best, 0.0)[reached].sum() / 11)


def matched(detections: np.ndarray, truths: np.ndarray, iou: float) -> np.ndarray:
    """Which detections are right: over all pairs of one image and class at once. Shape: [7, N], [6, M] -> bool [N]."""
    # A fixed order, so that of two objects covered equally well the same is taken however they are listed.
    width = max(detections[1].max(initial=0), truths[1].max()) + 1
    wanted = truths[0] * width + truths[1]
    order = np.lexsort((*truths[2:], wanted))
    objects, wanted = truths[2:, order], wanted[order]
    found = detections[0] * width + detections[1]
    order = np.argsort(found)
    found = found[order]
    first = np.searchsorted(wanted, found)
    rivals = np.searchsorted(wanted, found, side="right") - first  # objects of its image and class
    some = rivals > 0
    order, first, rivals = order[some], first[some], rivals[some]
    starts = rivals.cumsum() - rivals  # the pairs of a detection stand one behind another
    detection = np.repeat(order, rivals)
    thing = np.arange(len(detection)) + np.repeat(first - starts, rivals)
    cover = overlap(detections[3:, detection], objects[:, thing])
    best = np.maximum.reduceat(cover, starts) if len(starts) else cover
    good = np.flatnonzero((cover == np.repeat(best, rivals)) & (cover >= iou))
    detection, thing = detection[good], thing[good]
    one = np.diff(detection, prepend=-1) != 0  # the first of objects covered equally well
    detection, thing = detection[one], thing[one]
    # Of the detections of one object that of the highest score is written last, and stays.
    order = np.argsort(detections[2, detection])
    owner = np.full(len(wanted), -1)
    owner[thing[order]] = detection[order]
    right = np.zeros(len(found), bool)
    right[owner[owner >= 0]] = True
    return right


def columns(rows: Any, length: int, what: str) -> np.ndarray:
    """Columns float64 [length, N] of rows [N, length], checked; N may be 0."""
    found = tensor(rows, what).double().cpu().numpy()
    if not found.size:
        return np.zeros((length, 0))
    if found.ndim != 2 or found.shape[1] != length:
        names = "image, class, score, x1, y1, x2, y2" if length == 7 else "image, class, x1, y1, x2, y2"
        raise UsageError(f"{what} are [N, {length}], rows of {names}, got {list(found.shape)}")
    if not np.isfinite(found).all():
        raise UsageError(f"the {what} must be finite numbers, some are not")
    boxes(found[:, -4:])
    found = np.ascontiguousarray(found.T)
    if (found[:2] < 0).any() or (found[:2] != np.floor(found[:2])).any():
        raise UsageError(f"images and classes of {what} are whole numbers from 0 on")
    return found
