"""The range test: reading a curve whose features are known, and a real one."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from danlu.data import Source
from danlu.errors import DanluError, UsageError
from danlu.train import TrainConfig, fit, lr_find
from danlu.train.lr_find import read, smooth, write_plot
from danlu.train.schedules import factor

Make = Callable[..., nn.Sequential]


def curve(falls_at: float, rises_at: float) -> tuple[np.ndarray, np.ndarray]:
    """A logistic descent around one rate, then an exponential rise from another."""
    rates = np.geomspace(1e-6, 10, 120)
    fall = 2.0 / (1 + np.exp(-3 * (np.log10(rates) - np.log10(falls_at))))
    rise = 0.05 * (rates / rises_at) ** 2
    return rates, 2.3 - fall + rise


@pytest.mark.parametrize("falls_at", [1e-4, 1e-3, 1e-2])
def test_reads_a_known_curve(falls_at: float) -> None:
    rates, losses = curve(falls_at, rises_at=30 * falls_at)
    found = read(rates, losses)
    assert found.upper == pytest.approx(rates[losses.argmin()], rel=0.5)
    # Steepest where the logistic has its centre; the suggestion is the geometric mean of that and a tenth of the lowest.
    assert found.suggestion == pytest.approx((falls_at * rates[losses.argmin()] / 10) ** 0.5, rel=0.35)
    assert found.lower < found.suggestion < found.upper


def test_noise_moves_it_little() -> None:
    rates, losses = curve(1e-3, 3e-2)
    clean = read(rates, losses).suggestion
    rng = np.random.default_rng(0)
    noisy = [read(rates, losses + rng.normal(0, 0.05, len(losses))).suggestion for _ in range(20)]
    assert 0.4 < np.median(noisy) / clean < 2.5


def test_smoothing_keeps_lines_and_does_not_lag() -> None:
    line = np.linspace(3, 1, 50)
    assert np.allclose(smooth(line, 1.5)[10:-10], line[10:-10])
    step = np.repeat([1.0, 0.0], 25)
    assert smooth(step, 2.0)[24:26] == pytest.approx([0.5, 0.5], abs=0.11)


@pytest.mark.parametrize("losses", [np.linspace(2, 3, 40), np.full(40, 2.0), np.array([1.0, 9.0])])
def test_a_loss_that_does_not_fall_is_said(losses: np.ndarray) -> None:
    with pytest.raises(DanluError, match=r"does not fall|exploded"):
        read(np.geomspace(1e-5, 1, len(losses)), losses)


def test_on_digits(digits: Source, net: Make) -> None:
    model = net()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    found = lr_find(model, digits, TrainConfig(steps=60, batch_size=64), steps=60)
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), net().state_dict().values(), strict=True))
    assert 1e-3 < found.suggestion < 1
    assert len(found.lrs) == len(found.losses) == len(found.smoothed) <= 60

    def after(rate: float) -> float:
        config = TrainConfig(steps=40, batch_size=64, lr=rate, precision="fp32", memory_format="nchw")
        return fit(net(), digits, config).best_accuracy

    assert after(found.suggestion) > after(found.suggestion / 100)


def test_refusals(few: Source, net: Make) -> None:
    for limits in ({"low": 1.0, "high": 0.1}, {"low": 0.0}, {"steps": 3}, {"high": float("inf")}):
        with pytest.raises(UsageError, match="a range test needs"):
            lr_find(net(), few, **limits)


def test_plot_is_one_file_without_a_network(tmp_path: Path) -> None:
    found = read(*curve(1e-3, 3e-2))
    write_plot(found, tmp_path / "plot.html", "a net on some data")
    text = (tmp_path / "plot.html").read_text()
    assert "a net on some data" in text
    assert f"suggestion {found.suggestion:.2g}" in text
    assert f"bounds {found.lower:.2g} .. {found.top:.2g}" in text
    assert not re.search(r"<(script|link)[^>]+(src|href)=", text)
    with pytest.raises(UsageError, match=r"\.html"):
        write_plot(found, tmp_path / "plot.png", "")


def test_dips_before_the_fall_are_not_its_beginning() -> None:
    rates, losses = curve(1e-3, 3e-2)
    clean = read(rates, losses).lower
    dip = losses - 0.5 * np.exp(-((np.log10(rates) + 5) ** 2) / 0.02)  # at 1e-5, deeper than a tenth of the fall
    assert read(rates, dip).lower == pytest.approx(clean)


def test_the_bounds_make_a_cyclical_training(digits: Source, net: Make) -> None:
    settings = {"batch_size": 64, "precision": "fp32", "memory_format": "nchw"}
    found = lr_find(net(), digits, TrainConfig(steps=60, **settings), steps=60)
    cyclical = found.settings(cyclical=True)
    assert found.to_json()["cyclical"] == cyclical
    assert cyclical["lr"] == pytest.approx(min(found.upper, 3 * found.suggestion), rel=0.05)
    config = TrainConfig(steps=80, **settings, **cyclical)
    rates = [cyclical["lr"] * factor(config.schedule, step, 80) for step in range(80)]
    assert min(rates) == pytest.approx(found.lower, rel=0.1)
    assert max(rates) == pytest.approx(found.top, rel=0.05)
    assert found.lower < found.suggestion <= found.top <= found.upper
    cycled, low = (fit(net(), digits, c).best_accuracy for c in (config, TrainConfig(steps=80, **settings, lr=found.lower)))
    assert cycled > max(low, 0.8)
    assert TrainConfig(steps=1, **found.settings()).lr == pytest.approx(found.suggestion, rel=0.05)


@pytest.mark.parametrize("settings", [{"optimizer": "kfac"}, {"optimizer": "adabound"}, {"batch_size": "all"}])
def test_other_optimizers_and_all_images(settings: dict, few: Source, net: Make) -> None:
    model = net()
    found = lr_find(model, few, TrainConfig(**{"steps": 40, "batch_size": 32, "augment": "none", **settings}), steps=40)
    assert found.lower < found.suggestion <= found.upper
    assert not any(module._forward_hooks for module in model.modules())
