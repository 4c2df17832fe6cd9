"""What a score can do at every threshold: the ROC and the precision-recall curve, and the areas below them.

    TPR = recall = TP / P,   FPR = FP / N,   precision = TP / (TP + FP),   a score >= the threshold counts as true
    roc_auc = area below TPR over FPR = P(a true one scores above a false one) + P(equal) / 2
    pr_auc  = sum_i (R_i - R_(i-1)) P_i

Ties: equal scores share one threshold, one point of the curve; no order among them is made up.
Source: Fawcett 2006, An introduction to ROC analysis, https://doi.org/10.1016/j.patrec.2005.10.010; for precision and recall
Davis and Goadrich 2006, https://doi.org/10.1145/1143844.1143874.
Differs: scores are taken as they are. torchmetrics puts a sigmoid on scores beyond 0 .. 1, which makes large ones equal.
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..errors import UsageError
from ._inputs import ranked
from ._registry import metrics


class Roc(NamedTuple):
    """One point for each distinct score, from the strictest threshold, where nothing is true, to the laxest. Shape: [T] each."""

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray


class PrecisionRecall(NamedTuple):
    """One point for each distinct score, from the highest on. Shape: [T] each."""

    precision: np.ndarray
    recall: np.ndarray
    thresholds: np.ndarray


def roc_curve(scores: Tensor, targets: Tensor) -> Roc:
    """The ROC curve; it starts at (0, 0), whose threshold is infinite, and ends at (1, 1).

    Shape: scores [N], targets bool or 0/1 [N] -> [T] each
    Raises: UsageError unless there are both true and false targets.
    """
    true, false, thresholds = counts(*both(scores, targets))
    return Roc(
        np.concatenate(([0.0], false / false[-1])),
        np.concatenate(([0.0], true / true[-1])),
        np.concatenate(([np.inf], thresholds)),
    )


def pr_curve(scores: Tensor, targets: Tensor) -> PrecisionRecall:
    """The precision-recall curve; recall rises.

    Shape: scores [N], targets bool or 0/1 [N] -> [T] each
    Raises: UsageError unless there is a true target.
    """
    given, truth = ranked(scores, targets)
    if not truth.any():
        raise UsageError("without a true target there is no recall")
    true, false, thresholds = counts(given, truth)
    return PrecisionRecall(true / (true + false), true / true[-1], thresholds)


@metrics(kind="verify", higher_is_better=True, paper="doi:10.1016/j.patrec.2005.10.010")
def roc_auc(scores: Tensor, targets: Tensor) -> float:
    """The chance that a true one scores above a false one; half of it where they are equal.

    Shape: scores [N], targets bool or 0/1 [N] -> float in 0 .. 1
    Raises: UsageError unless there are both true and false targets.
    """
    fpr, tpr, _ = roc_curve(scores, targets)
    return float(np.trapezoid(tpr, fpr))


@metrics(kind="verify", higher_is_better=True, paper="doi:10.1145/1143844.1143874")
def pr_auc(scores: Tensor, targets: Tensor) -> float:
    """The area below the precision-recall curve, in steps: nothing is interpolated.

    Shape: scores [N], targets bool or 0/1 [N] -> float in 0 .. 1
    Raises: UsageError unless there is a true target.
    """
    precision, recall, _ = pr_curve(scores, targets)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def both(scores: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth. Raises: UsageError unless there are both true and false targets."""
    given, truth = ranked(scores, targets)
    if truth.all() or not truth.any():
        raise UsageError(f"this metric needs true and false targets, all {len(truth)} are {'true' if truth.all() else 'false'}")
    return given, truth


def counts(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(true, false, score): how many of each kind reach a score, for each distinct score from the highest on. Shape: [T] each."""
    order = np.argsort(-scores)
    falling = scores[order]
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    true = truth[order].cumsum()[ends]
    return true, ends + 1 - true, falling[ends]
