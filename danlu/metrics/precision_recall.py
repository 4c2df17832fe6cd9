"""Precision, recall, F1 and the confusion matrix: which classes are taken for which.

    precision = TP / (TP + FP),   recall = TP / (TP + FN),   F1 = 2 precision recall / (precision + recall)

each for one class against all others. "macro" is the plain mean over the classes that occur among the targets or the answers,
"weighted" that mean with the number of targets as weights, "micro" sums the counts first (which for one answer an image is the
accuracy). A class without answers has precision 0, one without targets recall 0.

Source: van Rijsbergen 1979, Information Retrieval, chapter 7; over torchmetrics.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from torch import Tensor
from torchmetrics.functional import classification as over

from ..errors import unknown
from ._inputs import answered
from ._registry import metrics

Average = Literal["macro", "micro", "weighted"]
AVERAGES = ("macro", "micro", "weighted")


def confusion_matrix(outputs: Tensor, targets: Tensor) -> np.ndarray:
    """Images by true class (row) and answered class (column).

    Shape: outputs [N, K] or int [N], targets int [N] -> int64 [K, K]
    Raises: UsageError for shapes or classes that do not fit.
    """
    answers, truth, count = answered(outputs, targets)
    table: np.ndarray = over.multiclass_confusion_matrix(answers, truth, num_classes=count, validate_args=False).cpu().numpy()
    return table


@metrics(kind="classify", higher_is_better=True, paper="isbn:978-0-408-70929-3")
def precision(outputs: Tensor, targets: Tensor, *, average: Average = "macro") -> float:
    """The share of an answer's images that are of that class.

    Shape: outputs [N, K] or int [N], targets int [N] -> float in 0 .. 1
    Raises: UsageError for another average, and for shapes or classes that do not fit.
    """
    return _over(over.multiclass_precision, outputs, targets, average)


@metrics(kind="classify", higher_is_better=True, paper="isbn:978-0-408-70929-3")
def recall(outputs: Tensor, targets: Tensor, *, average: Average = "macro") -> float:
    """The share of a class's images that are answered so.

    Shape: outputs [N, K] or int [N], targets int [N] -> float in 0 .. 1
    Raises: UsageError for another average, and for shapes or classes that do not fit.
    """
    return _over(over.multiclass_recall, outputs, targets, average)


@metrics(kind="classify", higher_is_better=True, paper="isbn:978-0-408-70929-3")
def f1(outputs: Tensor, targets: Tensor, *, average: Average = "macro") -> float:
    """The harmonic mean of precision and recall: high only where both are.

    Shape: outputs [N, K] or int [N], targets int [N] -> float in 0 .. 1
    Raises: UsageError for another average, and for shapes or classes that do not fit.
    """
    return _over(over.multiclass_f1_score, outputs, targets, average)


def _over(function: Callable[..., Tensor], outputs: Tensor, targets: Tensor, average: str) -> float:
    if average not in AVERAGES:
        raise unknown("average", average, AVERAGES)
    answers, truth, count = answered(outputs, targets)
    # torchmetrics wants two classes at least; one that nobody names changes no mean.
    return float(function(answers, truth, num_classes=max(count, 2), average=average, validate_args=False))
