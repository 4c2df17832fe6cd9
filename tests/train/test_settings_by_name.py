"""Losses, initialisations, regularisers and mixings by name: they act, resume bit for bit, and are checked at once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.data import Source
from danlu.errors import UsageError
from danlu.train import Interrupted, TrainConfig, fit
from danlu.train import plan as planning

Make = Callable[..., nn.Sequential]
Config = Callable[..., TrainConfig]
SETTINGS = {
    "epochs": 4, "lr": 0.02, "init": "he(fan='out')", "regularize": "l1(strength=1e-4)", "mix": "mixup(alpha=0.4)",
    "loss": "cross_entropy(label_smoothing=0.1)",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _checkpoint_at_every_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))


def stop_after(steps: int) -> Callable[[], bool]:
    made = iter(range(1, 1_000_000))
    return lambda: next(made) >= steps


def test_a_resumed_training_sees_the_same_mixtures(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    straight = fit(net(), few, config(**SETTINGS))
    with pytest.raises(Interrupted):
        fit(net(), few, config(**SETTINGS), run=tmp_path, stop=stop_after(7))
    resumed = fit(net(), few, config(**SETTINGS), run=tmp_path, resume=True)
    weights = resumed.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in straight.model.state_dict().items())
    with pytest.raises(UsageError, match="mix was"):
        fit(net(), few, config(**SETTINGS | {"mix": ""}), run=tmp_path, resume=True)


@pytest.mark.parametrize("name", ["init", "regularize", "mix", "loss"])
def test_each_setting_changes_the_training(name: str, few: Source, net: Make, config: Config) -> None:
    plain = {"epochs": 1, "lr": 0.02}
    a = fit(net(), few, config(**plain)).model.state_dict()
    b = fit(net(), few, config(**plain, **{name: SETTINGS[name]})).model.state_dict()
    assert not all(torch.equal(a[key], b[key]) for key in a)


def test_an_initialisation_starts_the_net_anew_from_the_seed(few: Source, net: Make, config: Config) -> None:
    settings = {"steps": 1, "lr": 1e-12, "init": "he", "weight_decay": 0.0}
    a, b = (fit(net(seed), few, config(**settings)).model for seed in (1, 2))
    assert torch.equal(a[0].weight, b[0].weight)
    assert float(a[3].weight.detach().std()) == pytest.approx((2 / (8 * 9)) ** 0.5, rel=0.1)
    c = fit(net(1), few, config(**settings, seed=1)).model
    assert not torch.equal(a[0].weight, c[0].weight)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": "cross_entrpy"}, "cross_entropy"), ({"loss": "cross_entropy(label_smoothing='a')"}, "takes a number"),
        ({"regularize": "l2x"}, "regularizer"), ({"regularize": "l1(strength=-1)"}, "strength must be above 0"),
        ({"mix": "mixup(alpha=0)"}, "alpha must be above 0"), ({"mix": "mixup | mixp"}, "mixup"), ({"init": "hee"}, "he"),
        ({"optimizer": "adamw(lrr=1)"}, "lrr"), ({"schedule": "step(period='a')"}, "period takes a number"),
    ],
)  # fmt: skip
def test_wrong_names_and_options_are_told_before_anything_starts(settings: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainConfig(epochs=1, **settings)  # type: ignore[arg-type]
