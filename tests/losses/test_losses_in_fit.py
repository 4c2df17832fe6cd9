"""Every loss of classification trains a net by its name; those of other tasks are refused before anything starts."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from danlu.data import Source, load_data
from danlu.errors import UsageError
from danlu.losses import losses
from danlu.registry import Entry
from danlu.train import TrainConfig, fit

# Options with which a loss trains; the learning rate of the others is that of cross-entropy.
WITH = {
    "weighted_cross_entropy": "weighted_cross_entropy(weights=[1, 2, 1, 2, 1, 2, 1, 2, 1, 2])",
    "focal": "focal(gamma=1)",
    "large_margin_softmax": "large_margin_softmax(margin=2, gamma=0.005)",
}
CLASSIFY = [entry for entry in losses if entry.facts["task"] == "classify"]
SETTINGS: dict[str, Any] = {"precision": "fp32", "memory_format": "channels_last", "batch_size": 32, "augment": "none"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def few() -> Source:
    digits = load_data("digits")
    return replace(digits.subset(320), val=digits.val.only(np.arange(0, len(digits.val), 4)))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10)
    )  # fmt: skip


@pytest.mark.parametrize("entry", CLASSIFY, ids=lambda entry: entry.name)
def test_it_trains_with_labels_and_with_mixed_labels(entry: Entry[Any], few: Source) -> None:
    text = WITH.get(entry.name, entry.name)
    plain = fit(net(), few, TrainConfig(epochs=4, loss=text, lr=0.05, **SETTINGS))
    assert plain.best_accuracy > 0.6
    assert all(np.isfinite(row["train_loss"]) and np.isfinite(row["val_loss"]) for row in plain.history)
    mixed = fit(net(), few, TrainConfig(epochs=3, loss=text, lr=0.02, mix="mixup(alpha=0.4)", **SETTINGS))
    assert mixed.best_accuracy > 0.2


@pytest.mark.parametrize("entry", [entry for entry in losses if entry not in CLASSIFY], ids=lambda entry: entry.name)
def test_a_loss_of_another_task_is_refused_with_those_there_are(entry: Entry[Any]) -> None:
    with pytest.raises(UsageError, match="is not one for classification"):
        TrainConfig(epochs=1, loss=entry.name)


def test_a_number_too_few_is_told_by_the_first_batch(few: Source) -> None:
    with pytest.raises(UsageError, match="2 weights do not go with 10 classes"):
        fit(net(), few, TrainConfig(epochs=1, loss="weighted_cross_entropy(weights=[1, 2])", **SETTINGS))
