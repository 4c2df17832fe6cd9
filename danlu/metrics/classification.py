"""Metrics of a classifier from its logits, over torchmetrics.

Means over classes are plain ("macro"): every class that occurs, among the labels or the answers, counts the same, however few
images it has. The calibration error compares confidence and accuracy in 15 bins of equal width (Guo et al. 2017,
https://arxiv.org/abs/1706.04599).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torchmetrics.functional import classification as over

from ..errors import DanluError, UsageError

CALIBRATION_BINS = 15
TOP = 5


def classification_metrics(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Metrics by name, as plain numbers and lists. Shape: logits [N, K] of the K classes, labels [N].

    accuracy, loss (cross-entropy, in nats), top5 (above 5 classes), macro_precision, macro_recall, macro_f1,
    per_class_recall {class: recall, None where it has no image}, ece (expected calibration error) and
    confusion[truth][answer] in images.

    Raises: UsageError for shapes that do not fit; DanluError for logits that are not finite.
    """
    count = len(classes)
    if logits.ndim != 2 or logits.shape != (len(labels), count) or not len(labels):
        raise UsageError(f"{len(labels)} images and {count} classes need logits of that shape, got {list(logits.shape)}")
    if not np.isfinite(logits).all():
        raise DanluError("the model's outputs are not finite numbers; its weights have diverged")
    scores, truth = torch.from_numpy(np.asarray(logits, np.float32)), torch.from_numpy(np.asarray(labels, np.int64))
    answers = scores.argmax(1)
    confusion = over.multiclass_confusion_matrix(answers, truth, num_classes=count)
    seen = torch.bincount(truth, minlength=count)
    recall = over.multiclass_recall(answers, truth, num_classes=count, average="none")
    means = {
        "macro_precision": over.multiclass_precision(answers, truth, num_classes=count, average="macro"),
        "macro_recall": over.multiclass_recall(answers, truth, num_classes=count, average="macro"),
        "macro_f1": over.multiclass_f1_score(answers, truth, num_classes=count, average="macro"),
        "ece": over.multiclass_calibration_error(scores.softmax(1), truth, num_classes=count, n_bins=CALIBRATION_BINS, norm="l1"),
    }
    if count > TOP:
        means["top5"] = over.multiclass_accuracy(scores, truth, num_classes=count, top_k=TOP, average="micro")
    return {
        "accuracy": float((answers == truth).double().mean()),
        "loss": float(torch.nn.functional.cross_entropy(scores.double(), truth)),
        **{name: float(value) for name, value in means.items()},
        "per_class_recall": {
            name: float(value) if n else None for name, value, n in zip(classes, recall, seen.tolist(), strict=True)
        },
        "confusion": confusion.tolist(),
    }
