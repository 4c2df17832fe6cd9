"""Accuracy and its kin against loops, torchmetrics, and hand-worked cases."""

import sys

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as over

from danlu.errors import UsageError
from danlu.metrics import accuracy, confusion_matrix, f1, precision, recall, top_k, zero_one


def case(images: int = 300, classes: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(3)
    labels = torch.randint(0, classes - 1, (images,), generator=draws)  # the last class has no image
    scores = torch.randn(images, classes, generator=draws)
    scores[torch.arange(images), labels] += 1
    return scores, labels


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k_against_a_stable_sort(k: int) -> None:
    """Scores of few levels, so that most rows have ties; rows in more than one part."""
    draws = torch.Generator().manual_seed(0)
    scores, labels = torch.randint(0, 4, (500, 9), generator=draws).float(), torch.randint(0, 9, (500,), generator=draws)
    right = 0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        right += label in sorted(range(9), key=lambda c, row=row: (-row[c], c))[:k]
    assert top_k(scores, labels, k=k) == right / 500
    if k == 1:
        assert top_k(scores, labels, k=1) == accuracy(scores, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["danlu.metrics.accuracy"], "PART", 70)
        assert top_k(scores, labels, k=k) == right / 500


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_against_torchmetrics(k: int) -> None:
    scores, labels = case()
    theirs = float(over.multiclass_accuracy(scores, labels, num_classes=9, top_k=k, average="micro"))
    assert top_k(scores, labels, k=k) == pytest.approx(theirs, rel=1e-6)


def test_accuracy_by_hand() -> None:
    assert accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    assert zero_one([0, 1, 2, 2], [0, 1, 1, 2]) == 0.25
    assert accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]) == 0.5


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_precision_recall_f1_against_loops(average: str) -> None:
    scores, labels = case()
    answers, truth = scores.argmax(1).tolist(), labels.tolist()
    rows = []
    for one in range(9):
        tp = sum(a == one and t == one for a, t in zip(answers, truth, strict=True))
        fp = sum(a == one and t != one for a, t in zip(answers, truth, strict=True))
        fn = sum(a != one and t == one for a, t in zip(answers, truth, strict=True))
        if tp + fp + fn:
            rows.append((tp, fp, fn))
    if average == "micro":
        rows = [tuple(map(sum, zip(*rows, strict=True)))]
    weights = [tp + fn if average == "weighted" else 1 for tp, fp, fn in rows]
    for metric, value in (
        (precision, lambda tp, fp, fn: tp / (tp + fp) if tp + fp else 0),
        (recall, lambda tp, fp, fn: tp / (tp + fn) if tp + fn else 0),
        (f1, lambda tp, fp, fn: 2 * tp / (2 * tp + fp + fn)),
    ):
        expected = sum(w * value(*row) for w, row in zip(weights, rows, strict=True)) / sum(weights)
        assert metric(scores, labels, average=average) == pytest.approx(expected, rel=1e-6)
        assert metric(scores.argmax(1), labels, average=average) == pytest.approx(expected, rel=1e-6)


def test_confusion_matrix_against_a_loop() -> None:
    scores, labels = case()
    table = np.zeros((9, 9), int)
    for answer, label in zip(scores.argmax(1).tolist(), labels.tolist(), strict=True):
        table[label, answer] += 1
    assert (confusion_matrix(scores, labels) == table).all()
    assert table.trace() / table.sum() == pytest.approx(accuracy(scores, labels))


def test_one_class_alone() -> None:
    assert (precision([0, 0], [0, 0]), recall([0, 0], [0, 0]), f1([0, 0], [0, 0])) == (1.0, 1.0, 1.0)


def test_refusals() -> None:
    scores, labels = case()
    for k in (0, 10):
        with pytest.raises(UsageError, match=r"1 \.\. 9"):
            top_k(scores, labels, k=k)
    with pytest.raises(UsageError, match="macro"):
        f1(scores, labels, average="marco")
    with pytest.raises(UsageError, match="class 8"):
        accuracy(scores[:, :8], torch.full((300,), 8))
    with pytest.raises(UsageError, match="from 0 on"):
        accuracy(scores, labels - 1)
    with pytest.raises(UsageError, match="whole"):
        accuracy(scores, labels.float())
