"""Snapshots: cycles of the rate, one loadable network for each, the same ones after a break, and what they refuse."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.codec import load_saved
from danlu.data import Source
from danlu.errors import UsageError
from danlu.train import Interrupted, TrainConfig, evaluate, fit
from danlu.train import plan as planning
from danlu.train.snapshots import Snapshots
from danlu.zoo import create

Make = Callable[..., nn.Sequential]
Config = Callable[..., TrainConfig]


def named(seed: int = 0) -> nn.Module:
    return create("resnet8(width=0.25)", num_classes=10, in_channels=1, seed=seed)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_saved(path).model.state_dict()


@pytest.mark.parametrize(("total", "count"), [(10, 3), (12, 4), (7, 7), (5, 1), (1001, 6)])
def test_cycles_cover_every_step_once(total: int, count: int, tmp_path: Path) -> None:
    cycles = Snapshots(tmp_path, count, total, named())
    places = [cycles.cycle(step) for step in range(total)]
    assert [number for number, _, _ in places] == sorted(number for number, _, _ in places)
    lengths = [sum(number == cycle for number, _, _ in places) for cycle in range(count)]
    assert sum(lengths) == total
    assert max(lengths) == math.ceil(total / count)
    assert max(lengths) - min(lengths) <= 1
    for step, (number, place, length) in enumerate(places):
        assert length == lengths[number]
        assert place == step - sum(lengths[:number])
    ends = {step: cycles.end(step) for step in range(1, total + 1) if cycles.end(step)}
    assert list(ends.values()) == list(range(1, count + 1))
    assert list(ends) == [sum(lengths[: i + 1]) for i in range(count)]


def test_the_rate_restarts_and_each_minimum_is_kept(few: Source, config: Config, tmp_path: Path) -> None:
    lines: list[str] = []
    settings = config(steps=12, snapshots=3, lr=0.1, warmup=2, ema=0.5, regularize="dropout(rate=0.2) | stochastic_depth")
    done = fit(named(), few, settings, run=tmp_path, log=lines.append)
    rates = {row["step"]: row["lr"] for row in done.history}
    for end in (4, 8, 12):
        # The rate of the last step of a cycle; the first cycle has two steps of warm-up and a cosine over the other two.
        expected = 0.1 * 0.5 * (1 + math.cos(math.pi * (1 / 2 if end == 4 else 3 / 4)))
        assert rates[end] == pytest.approx(expected)
    files = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert files == [f"{k}.{kind}" for k in (1, 2, 3) for kind in ("json", "safetensors")]
    kept = [load_saved(tmp_path / "snapshots" / f"{k}.safetensors") for k in (1, 2, 3)]
    assert not torch.equal(kept[0].model.state_dict()["fc.weight"], kept[1].model.state_dict()["fc.weight"])
    for net, end in zip(kept, (4, 8, 12), strict=True):
        assert net.recipe == "resnet8(width=0.25)"
        assert net.classes == few.classes
        row = next(row for row in done.history if row["step"] == end)
        assert evaluate(net.model, few, split="val").accuracy == pytest.approx(row["val_accuracy"])
    assert sum(line.startswith("snapshot ") for line in lines) == 3


def test_without_cycles_nothing_changes(few: Source, config: Config, tmp_path: Path) -> None:
    one = fit(named(), few, config(steps=6, lr=0.05, snapshots=1), run=tmp_path / "one")
    plain = fit(named(), few, config(steps=6, lr=0.05), run=tmp_path / "plain")
    assert not (tmp_path / "plain" / "snapshots").exists()
    last, state = weights(tmp_path / "one" / "snapshots" / "1.safetensors"), plain.model.state_dict()
    assert one.history[-1]["step"] == 6
    assert all(torch.equal(last[name], state[name]) for name in state)


@pytest.mark.parametrize("grow", [False, True])
def test_a_resumed_training_makes_the_same_snapshots(
    grow: bool, few: Source, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))
    settings = config(epochs=4, snapshots=2, lr=0.05, optimizer="adam", grow_batch=grow)
    fit(named(), few, settings, run=tmp_path / "straight")
    stale = tmp_path / "broken" / "snapshots" / "3.safetensors"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of another training")
    steps = iter(range(1, 1000))
    with pytest.raises(Interrupted):
        fit(named(), few, settings, run=tmp_path / "broken", stop=lambda: next(steps) >= 13)
    assert not stale.exists()
    fit(named(), few, settings, run=tmp_path / "broken", resume=True)
    for k in (1, 2):
        a, b = (weights(tmp_path / name / "snapshots" / f"{k}.safetensors") for name in ("straight", "broken"))
        assert all(torch.equal(a[key], b[key]) for key in a)
    for changed, said in (({"snapshots": 3}, "snapshots was 2"), ({"epochs": 5}, "epochs or steps")):
        with pytest.raises(UsageError, match=said):
            fit(named(), few, replace(settings, **changed), run=tmp_path / "broken", resume=True)


def test_what_cannot_be_is_told(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    for settings, said in (
        ({"seconds": 5.0}, "epochs or steps"), ({"epochs": 1, "patience": 2}, "patience"),
        ({"epochs": 1, "snapshots": -1}, "from 0"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            config(**{"snapshots": 2, **settings})
    settings = config(steps=3, snapshots=2)
    with pytest.raises(UsageError, match="run folder"):
        fit(named(), few, settings)
    with pytest.raises(UsageError, match="has none"):
        fit(net(), few, settings, run=tmp_path)
    with pytest.raises(UsageError, match="at least as many steps"):
        fit(named(), few, config(steps=3, snapshots=4), run=tmp_path)
    assert not (tmp_path / "snapshots").exists()
