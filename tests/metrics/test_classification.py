"""Metrics of a classifier against plain loops."""

import json

import numpy as np
import pytest

from danlu.errors import DanluError, UsageError
from danlu.metrics import classification_metrics

NAMES = [f"c{i}" for i in range(7)]


def case(images: int = 400, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are often right, labels of all classes but the last."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes - 1, images)
    logits = rng.normal(size=(images, classes)).astype(np.float32)
    logits[np.arange(images), labels] += 1.5
    return logits, labels


def test_against_loops() -> None:
    logits, labels = case()
    found = classification_metrics(logits, labels, NAMES)
    answers = logits.argmax(1)
    confusion = [[int(((labels == t) & (answers == p)).sum()) for p in range(7)] for t in range(7)]
    assert found["confusion"] == confusion
    assert found["accuracy"] == pytest.approx(sum(confusion[i][i] for i in range(7)) / 400)
    rank = (logits > logits[np.arange(400), labels][:, None]).sum(1)
    assert found["top5"] == pytest.approx(float((rank < 5).mean()))
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    assert found["loss"] == pytest.approx(-log_p[np.arange(400), labels].mean())

    table = np.array(confusion, float)
    right, truths, given = table.diagonal(), table.sum(1), table.sum(0)
    recall, precision = right / np.maximum(truths, 1), right / np.maximum(given, 1)
    f1 = 2 * right / np.maximum(truths + given, 1)
    occurs = truths + given > 0
    assert found["macro_recall"] == pytest.approx(recall[occurs].mean(), rel=1e-6)
    assert found["macro_precision"] == pytest.approx(precision[occurs].mean(), rel=1e-6)
    assert found["macro_f1"] == pytest.approx(f1[occurs].mean(), rel=1e-6)
    for i, name in enumerate(NAMES[:-1]):
        assert found["per_class_recall"][name] == pytest.approx(recall[i], rel=1e-6)
    assert found["per_class_recall"]["c6"] is None

    confidence, correct = np.exp(log_p).max(1), answers == labels
    bins = np.minimum((confidence * 15).astype(int), 14)
    error = sum(
        abs(confidence[bins == b].mean() - correct[bins == b].mean()) * (bins == b).mean() for b in range(15) if (bins == b).any()
    )
    assert found["ece"] == pytest.approx(error, abs=1e-4)
    json.dumps(found, allow_nan=False)


def test_certain_and_right() -> None:
    labels = np.array([0, 1, 2, 1])
    found = classification_metrics(np.eye(3, dtype=np.float32)[labels] * 100, labels, "abc")
    assert (found["accuracy"], found["macro_f1"]) == (1.0, 1.0)
    assert found["loss"] == pytest.approx(0, abs=1e-6)
    assert found["ece"] == pytest.approx(0, abs=1e-6)
    assert "top5" not in found


def test_refusals() -> None:
    logits, labels = case()
    with pytest.raises(UsageError, match="400 images and 6 classes"):
        classification_metrics(logits, labels, NAMES[:6])
    with pytest.raises(UsageError):
        classification_metrics(logits[:0], labels[:0], NAMES)
    logits[3, 2] = np.nan
    with pytest.raises(DanluError, match="not finite"):
        classification_metrics(logits, labels, NAMES)
