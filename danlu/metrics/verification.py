"""Accept or reject: how many of the same person are let in, and how many strangers.

    TAR(t) = share of the true pairs with score >= t,   FRR = 1 - TAR
    FAR(t) = share of the false pairs with score >= t
    TAR at FAR = the highest TAR among the thresholds whose FAR is at most the one asked for

Ties: equal scores are accepted or rejected together.
Source: Klare et al. 2015, Pushing the frontiers of unconstrained face detection and recognition: IARPA Janus Benchmark A,
https://doi.org/10.1109/CVPR.2015.7298803.
"""

import math

from torch import Tensor

from ..errors import UsageError
from ._inputs import ranked
from ._registry import metrics
from .curves import roc_curve


@metrics(kind="verify", higher_is_better=True, paper="doi:10.1109/CVPR.2015.7298803")
def tar(scores: Tensor, targets: Tensor, *, threshold: float = 0.5) -> float:
    """True accept rate: the share of the true pairs that reach the threshold.

    Shape: scores [N], targets bool or 0/1 [N] -> float in 0 .. 1
    Raises: UsageError unless there is a true target and the threshold is a number.
    """
    return accepted(scores, targets, threshold, among=True)


@metrics(kind="verify", higher_is_better=False, paper="doi:10.1109/CVPR.2015.7298803")
def frr(scores: Tensor, targets: Tensor, *, threshold: float = 0.5) -> float:
    """False reject rate: the share of the true pairs that stay below the threshold, 1 - TAR.

    Shape: scores [N], targets bool or 0/1 [N] -> float in 0 .. 1
    Raises: UsageError unless there is a true target and the threshold is a number.
    """
    return 1.0 - accepted(scores, targets, threshold, among=True)


@metrics(kind="verify", higher_is_better=False, paper="doi:10.1109/CVPR.2015.7298803")
def far(scores: Tensor, targets: Tensor, *, threshold: float = 0.5) -> float:
    """False accept rate: the share of the false pairs that reach the threshold.

    Shape: scores [N], targets bool or 0/1 [N] -> float in 0 .. 1
    Raises: UsageError unless there is a false target and the threshold is a number.
    """
    return accepted(scores, targets, threshold, among=False)


@metrics(kind="verify", higher_is_better=True, paper="doi:10.1109/CVPR.2015.7298803")
def tar_at_far(scores: Tensor, targets: Tensor, *, far: float = 1e-3) -> float:
    """The best true accept rate at a false accept rate of at most `far`. Below 1 / (false pairs) it is the one without any.

    Shape: scores [N], targets bool or 0/1 [N] -> float in 0 .. 1
    Raises: UsageError unless there are both true and false targets and 0 <= far <= 1.
    """
    if not 0 <= far <= 1:
        raise UsageError(f"tar_at_far: far must lie in 0 .. 1, got {far}")
    curve = roc_curve(scores, targets)
    return float(curve.tpr[curve.fpr <= far].max())


def accepted(scores: Tensor, targets: Tensor, threshold: float, among: bool) -> float:
    """The share of the targets that are `among` whose score reaches the threshold."""
    if math.isnan(threshold):
        raise UsageError("threshold must be a number, got nan")
    given, truth = ranked(scores, targets)
    chosen = given[truth == among]
    if not len(chosen):
        raise UsageError(f"there is no {'true' if among else 'false'} target to accept or reject")
    return float((chosen >= threshold).mean())
