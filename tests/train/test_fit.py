"""`fit`: it learns, repeats itself exactly, keeps the best weights, and survives what goes wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from danlu.data import Source
from danlu.errors import DanluError, UsageError
from danlu.train import TrainConfig, evaluate, fit

Make = Callable[..., nn.Sequential]
Config = Callable[..., TrainConfig]


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


def test_learns_digits(digits: Source, net: Make, config: Config) -> None:
    rows: list[dict[str, Any]] = []
    done = fit(net(), digits, config(epochs=4, lr=0.05), on_epoch=rows.append)
    assert evaluate(done.model, digits).accuracy > 0.93
    assert done.history == rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert done.steps == rows[-1]["step"] == 4 * (len(digits.train) // 32)
    assert rows[-1]["val_accuracy"] > rows[0]["val_accuracy"] - 0.02
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert set(rows[0]) == {
        "epoch", "step", "seconds", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "images_per_second",
    }  # fmt: skip
    assert not done.model.training
    assert done.tune.precision == "fp32"


def test_input_model_and_random_numbers_stay(few: Source, net: Make, config: Config) -> None:
    model = net(dropout=0.3)
    model.danlu_recipe = "a recipe"  # type: ignore[assignment]
    before = net(dropout=0.3)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    done = fit(model, few, config(epochs=1))
    assert torch.equal(torch.rand(3), expected)
    assert same(model, before)
    assert model.training
    assert not same(done.model, before)
    assert done.model.danlu_recipe == "a recipe"
    assert done.model[0].weight.is_contiguous()


def test_repeats_itself_and_follows_the_seed(few: Source, net: Make, config: Config) -> None:
    settings = {"epochs": 2, "ema": 0.9, "clip": 1.0, "label_smoothing": 0.1}
    first = fit(net(dropout=0.5), few, config(**settings))
    torch.rand(7)  # the caller's generator has no part in it
    assert same(first.model, fit(net(dropout=0.5), few, config(**settings)).model)
    assert not same(first.model, fit(net(dropout=0.5), few, config(**settings, seed=1)).model)


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_best_weights_are_the_ones_that_were_judged(few: Source, net: Make, config: Config, ema: float) -> None:
    done = fit(net(), few, config(epochs=6, ema=ema, lr=0.2))
    scores = evaluate(done.model, few, split="val")
    assert scores.accuracy == pytest.approx(done.best_accuracy)
    assert done.best_accuracy == max(row["val_accuracy"] for row in done.history)
    best = max(done.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert scores.metrics["loss"] == pytest.approx(best["val_loss"], rel=1e-4)


def test_rates_are_those_of_the_schedule(few: Source, net: Make, config: Config) -> None:
    done = fit(net(), few, config(epochs=4, lr=0.01, schedule="multistep", milestones=(0.5, 0.75), gamma=0.5, warmup=0))
    assert [row["lr"] for row in done.history] == pytest.approx([0.01, 0.01, 0.005, 0.0025])


def test_first_step_by_hand(few: Source, config: Config) -> None:
    """One step of plain SGD on a linear net: the gradient of cross-entropy is (softmax - one-hot) x / B."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(linear[1].weight)
    nn.init.zeros_(linear[1].bias)
    settings = {"steps": 1, "batch_size": 160, "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0, "augment": "none"}
    done = fit(linear, few, config(**settings))
    pixels = few.train.images(np.arange(160)).double().flatten(1) / 255
    x = (pixels - few.input.mean[0]) / few.input.std[0]
    hot = nn.functional.one_hot(torch.from_numpy(few.train.labels), 10).double()
    gradient = (torch.full_like(hot, 0.1) - hot).T @ x / 160
    assert torch.allclose(done.model[1].weight.double(), -0.5 * gradient, atol=1e-6)
    # The loss of the untrained net: log 10; hits: whatever class 0 has.
    assert done.history[0]["train_loss"] == pytest.approx(np.log(10), rel=1e-5)
    assert done.history[0]["train_accuracy"] == pytest.approx(float((few.train.labels == 0).mean()))


def test_clip_bounds_the_step(few: Source, net: Make, config: Config) -> None:
    settings = {"steps": 1, "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0, "clip": 0.01}
    model = net()
    done = fit(model, few, config(**settings))
    moved = [(a - b).detach().square().sum() for a, b in zip(done.model.parameters(), model.parameters(), strict=True)]
    assert float(sum(moved)) ** 0.5 == pytest.approx(0.01, rel=1e-3)


def test_early_stopping(few: Source, net: Make, config: Config) -> None:
    said: list[str] = []
    done = fit(net(), few, config(epochs=200, patience=3, lr=0.02), log=said.append)
    assert done.stopped_early
    assert len(done.history) < 200
    best = max(range(len(done.history)), key=lambda i: (done.history[i]["val_accuracy"], -done.history[i]["val_loss"]))
    assert len(done.history) - 1 - best == 3
    assert any("stopped early" in text for text in said)


def test_distillation_follows_the_teacher(few: Source, net: Make, config: Config) -> None:
    """With alpha 1 labels have no part: a student of a teacher that says "class 3" always, learns to say so."""

    class Stubborn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            return torch.nn.functional.one_hot(torch.full((len(x),), 3), 10).float() * 20

    done = fit(net(), few, config(epochs=6, alpha=1.0, lr=0.05), teacher=Stubborn())
    answers = evaluate(done.model, few, split="val").logits.argmax(1)
    assert (answers == 3).mean() > 0.95


class Poison(nn.Module):
    """Multiplies by NaN at the given training steps (counted in calls), then never again."""

    def __init__(self, at: set[int]) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Poison":
        return self  # the copies that autotune makes count as well

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.calls += 1
            if self.calls in self.at:
                return x * float("nan")
        return x


def poisoned(net: Make, at: set[int]) -> nn.Sequential:
    model = net()
    model.append(Poison(at))
    return model


def test_nan_goes_back_and_halves_the_rate(few: Source, net: Make, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.train import TrainConfig as Settings
    from danlu.train import Tune, job

    monkeypatch.setattr(job, "autotune", lambda *_, **__: Tune("fp32", "channels_last", {"fp32 channels_last": 1e4}))
    said: list[str] = []
    settings: Settings = config(epochs=4, lr=0.02, schedule="constant", warmup=0)
    done = fit(poisoned(net, {13}), few, settings, log=said.append)
    assert done.steps == 20
    assert [row["step"] for row in done.history] == [5, 10, 15, 20]
    assert all(np.isfinite(row["train_loss"]) for row in done.history)
    assert [row["lr"] for row in done.history][-1] == pytest.approx(0.01)
    assert sum("not a finite number" in text for text in said) == 1


def test_nan_that_stays_is_an_error(few: Source, net: Make, config: Config) -> None:
    said: list[str] = []
    with pytest.raises(DanluError, match="after 3 returns to a good state"):
        fit(poisoned(net, set(range(10_000))), few, config(epochs=2), log=said.append)
    assert [text.split("at 1/")[1] for text in said if "at 1/" in text] == ["2 of the rate", "4 of the rate", "8 of the rate"]


def test_a_rate_that_explodes_recovers_or_says_so(few: Source, net: Make, config: Config) -> None:
    with pytest.raises(DanluError, match="try a smaller lr"):
        fit(net(), few, config(epochs=3, lr=1e30, warmup=0))


@pytest.mark.parametrize(("train", "batch"), [(65, 32), (33, 32), (20, 32), (64, 64)])
def test_no_batch_of_one(digits: Source, net: Make, config: Config, train: int, batch: int) -> None:
    done = fit(net(), digits.subset(train), config(epochs=2, batch_size=batch))
    assert done.steps == 2 * max(1, train // batch)


def test_batch_of_one_with_batch_norm_is_refused(few: Source, net: Make, config: Config) -> None:
    with pytest.raises(UsageError, match="at least two images"):
        fit(net(), few, config(epochs=1, batch_size=1))
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert fit(plain, few.subset(20), config(epochs=1, batch_size=1)).steps == 20


def test_a_model_that_does_not_fit_is_refused_before_work(few: Source, config: Config) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match="num_classes=10"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), few, config(epochs=1), log=said.append)
    with pytest.raises(UsageError, match="the model cannot take images of shape"):
        fit(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), few, config(epochs=1), log=said.append)
    good = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UsageError, match="the teacher cannot take images of shape"):
        fit(good, few, config(epochs=1), teacher=nn.Linear(3, 10), log=said.append)
    frozen = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False)
    with pytest.raises(UsageError, match="no trainable parameters"):
        fit(frozen, few, config(epochs=1), log=said.append)
    assert said == []


def test_no_validation_images(few: Source, net: Make, config: Config) -> None:
    with pytest.raises(UsageError, match="got 160 and 0"):
        fit(net(), replace(few, val=few.val.only(np.arange(0))), config(epochs=1))


def test_a_time_budget_is_kept_by_the_clock(
    few: Source, net: Make, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """On a clock where a step takes 0.1 s, first estimated at a hundredth of it: about 100 steps fit into 10 s."""
    from danlu.train import Tune, job, plan

    monkeypatch.setattr(job, "autotune", lambda *_, **__: Tune("fp32", "nchw", {"fp32 nchw": 32_000.0}))
    now = [0.0]
    monkeypatch.setattr(plan, "perf_counter", lambda: now[0])

    def on_step(step: int, total: int) -> None:
        now[0] += 0.1

    done = fit(net(), few, config(seconds=10.0), on_step=on_step)
    assert 95 <= done.steps <= 103
    assert 9.0 <= done.seconds <= 10.3
    assert done.steps == done.plan.total
    assert done.plan.changes
    assert len(done.history) >= 4  # how many depends on how long the first batches really took to load
    assert done.history[-1]["lr"] < 0.05 * max(row["lr"] for row in done.history)


def test_stop_without_a_run_folder(few: Source, net: Make, config: Config) -> None:
    from danlu.train import Interrupted

    with pytest.raises(Interrupted, match="nothing was stored") as caught:
        fit(net(), few, config(epochs=5), stop=lambda: True)
    assert caught.value.exit_code == 130
