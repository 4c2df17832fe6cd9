"""Autotune: it takes the fastest, disturbs nothing, and leaves alone what was decided."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from danlu.tasks import classify
from danlu.train import TrainConfig, Tune
from danlu.train import autotune as tuning
from danlu.train.autotune import Trial, autotune, candidates

Make = Callable[..., nn.Sequential]
TASK = classify([str(i) for i in range(10)])


def batch(images: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(images, 1, 8, 8), torch.arange(images) % 10


def test_candidates() -> None:
    assert [way.name for way in candidates(TrainConfig(epochs=1))] == [
        "fp32 nchw", "fp32 channels_last", "bf16 nchw", "bf16 channels_last",
    ]  # fmt: skip
    assert candidates(TrainConfig(epochs=1, precision="bf16", memory_format="nchw")) == [Tune("bf16", "nchw")]


@pytest.mark.parametrize("fastest", ["fp32 nchw", "fp32 channels_last", "bf16 nchw", "bf16 channels_last"])
def test_takes_the_fastest(net: Make, monkeypatch: pytest.MonkeyPatch, fastest: str) -> None:
    calls: dict[str, int] = {}

    def step(trial: Trial) -> float:
        calls[trial.way.name] = calls.get(trial.way.name, 0) + 1
        first = 0.5 if calls[trial.way.name] == 1 else 0.0  # building kernels must not count
        return first + (0.01 if trial.way.name == fastest else 0.02)

    monkeypatch.setattr(Trial, "step", step)
    said: list[str] = []
    tune = autotune(net(), TASK, TrainConfig(epochs=1), batch(), log=said.append)
    assert tune.name == fastest
    assert tune.images_per_second[fastest] == pytest.approx(32 / 0.01)
    assert set(tune.images_per_second) == set(calls)
    assert f"taking {fastest}" in said[0]
    assert f"{fastest} 3,200" in said[0]


def test_the_hopeless_are_dropped(net: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, int] = {}

    def step(trial: Trial) -> float:
        calls[trial.way.name] = calls.get(trial.way.name, 0) + 1
        return 1.0 if trial.way.precision == "bf16" else 0.01

    monkeypatch.setattr(Trial, "step", step)
    tune = autotune(net(), TASK, TrainConfig(epochs=1), batch())
    assert tune.precision == "fp32"
    assert calls["bf16 nchw"] == 2
    assert calls["fp32 nchw"] > 6


def test_real_steps_leave_model_and_random_numbers_alone(net: Make) -> None:
    model = net(dropout=0.5)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tune = autotune(model, TASK, TrainConfig(epochs=1), batch(), teacher=net(1), seconds=0.2)
    assert all(speed > 0 for speed in tune.images_per_second.values())
    assert len(tune.images_per_second) == 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_only_one_way_is_timed_too(net: Make) -> None:
    tune = autotune(net(), TASK, TrainConfig(epochs=1, precision="fp32", memory_format="nchw"), batch(), seconds=0.05)
    assert (tune.precision, tune.memory_format) == ("fp32", "nchw")
    assert tune.images_per_second["fp32 nchw"] > 0


def test_slow_networks_are_timed_on_fewer_images(net: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def step(trial: Trial) -> float:
        sizes.append(trial.images)
        return 0.1 * trial.images

    monkeypatch.setattr(Trial, "step", step)
    autotune(net(), TASK, TrainConfig(epochs=1), batch(512), seconds=5.0)
    assert max(sizes) == tuning.SMALLEST_BATCH


def test_autocast_computes_in_bf16_and_keeps_weights_fp32(net: Make) -> None:
    tune = Tune("bf16", "channels_last")
    model = tune.place(net(), "cpu")
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
    with tune.autocast("cpu"):
        outputs = model(batch()[0])
    assert outputs.dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in model.parameters())
    with Tune("fp32", "nchw").autocast("cpu"):
        assert model(batch()[0]).dtype == torch.float32
