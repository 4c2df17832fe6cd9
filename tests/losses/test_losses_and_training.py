"""What a training gives its loss: the counts of the classes, label smoothing, and the classifier with a margin."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import danlu
from danlu.data import Source, load_data
from danlu.errors import UsageError
from danlu.losses import losses
from danlu.nn import LargeMarginLinear
from danlu.tasks import classify, distillation
from danlu.train import Interrupted, TrainConfig, fit
from danlu.train import plan as planning

SETTINGS: dict[str, Any] = {
    "precision": "fp32",
    "memory_format": "channels_last",
    "batch_size": 32,
    "augment": "none",
    "lr": 0.05,
}
MARGIN = "large_margin_softmax(margin=2, gamma=0.01)"


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uneven() -> Source:
    """Digits of which the first five classes have a third of the images of the others."""
    digits = load_data("digits")
    kept = [i for i, label in enumerate(digits.train.labels) if label >= 5 or i % 3 == 0]
    return replace(digits, train=digits.train.only(np.array(kept[:300])), val=digits.val.only(np.arange(0, len(digits.val), 4)))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10)
    )  # fmt: skip


def stop_after(steps: int) -> Callable[[], bool]:
    made = iter(range(1, 1_000_000))
    return lambda: next(made) >= steps


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


def test_balanced_weights_come_from_the_training_images(uneven: Source) -> None:
    counts = np.bincount(uneven.train.labels, minlength=10).tolist()
    assert max(counts) > 2 * min(counts)
    by_itself = fit(net(), uneven, TrainConfig(epochs=1, loss="weighted_cross_entropy", **SETTINGS))
    written = fit(net(), uneven, TrainConfig(epochs=1, loss=f"weighted_cross_entropy(counts={counts})", **SETTINGS))
    plain = fit(net(), uneven, TrainConfig(epochs=1, **SETTINGS))
    assert same(by_itself.model, written.model)
    assert not same(by_itself.model, plain.model)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": "focal(gamma=-1)"}, "gamma must be from 0"),
        ({"loss": "weighted_cross_entropy(weights=[1, 2])"}, "2 weights do not go with 10 classes"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "'hinge' has no label_smoothing; those that have are cross_entropy, focal"),
    ],
)
def test_what_does_not_go_with_the_data_is_told_before_anything_is_written(
    settings: dict[str, Any], said: str, uneven: Source, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        fit(net(), uneven, TrainConfig(epochs=1, **SETTINGS, **settings), run=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_large_margin_is_put_in_for_the_training_and_taken_back(uneven: Source) -> None:
    before = net()
    done = fit(before, uneven, TrainConfig(epochs=4, loss=MARGIN, **SETTINGS))
    plain = fit(before, uneven, TrainConfig(epochs=4, **SETTINGS))
    assert type(done.model[-1]) is nn.Linear  # type: ignore[index]
    assert set(done.model.state_dict()) == set(before.state_dict())
    assert not same(done.model, plain.model)
    assert done.best_accuracy > 0.6
    assert not any(isinstance(module, LargeMarginLinear) for module in before.modules())


def test_a_resumed_training_goes_on_with_the_same_margin(uneven: Source, tmp_path: Path) -> None:
    config = TrainConfig(epochs=3, loss=MARGIN, regularize="l1(strength=1e-5)", mix="mixup(alpha=0.4)", **SETTINGS)
    straight = fit(net(), uneven, config)
    with pytest.raises(Interrupted):
        fit(net(), uneven, config, run=tmp_path, stop=stop_after(13))
    assert same(straight.model, fit(net(), uneven, config, run=tmp_path, resume=True).model)


def test_a_student_with_a_margin_is_taught_by_its_plain_logits() -> None:
    names, both, teacher = tuple("abcd"), torch.randn(6, 2, 4).sort(1).values, torch.randn(6, 4)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    task = classify(names, criterion=MARGIN, alpha=0.7, temperature=3.0)
    hard = losses["large_margin_softmax"].build(both, labels)
    expected = 0.3 * hard + 0.7 * distillation(both[:, 1], teacher, 3.0)
    assert float(task.loss(both, labels, teacher)) == pytest.approx(float(expected))
    assert float(task.loss(both, labels)) == pytest.approx(float(hard))
    assert task.score(both, labels) == (both[:, 1].argmax(1) == labels).sum()


def test_a_net_with_exits_gets_no_margin(uneven: Source) -> None:
    branchy = danlu.create("branchy_lenet", num_classes=10, in_channels=1)
    image = uneven.at((28, 28))
    with pytest.raises(UsageError, match="one classifier; this one has several"):
        fit(branchy, image, TrainConfig(epochs=1, loss=MARGIN, **SETTINGS))
