"""Batches that grow, batches that are everything, and heads that learn first: what a training does step by step."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.data import Source, batches
from danlu.edits import edit
from danlu.errors import UsageError
from danlu.train import Interrupted, TrainConfig, fit
from danlu.train import plan as planning
from danlu.train.head import head_of

Make = Callable[..., nn.Sequential]
Config = Callable[..., TrainConfig]
STEPPED = {"schedule": "step(period=0.5, gamma=0.25)", "warmup": 0, "grow_batch": True, "augment": "none"}


@pytest.fixture(autouse=True)
def _checkpoint_at_every_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))


def plain_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def same(a: nn.Module, b: nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in a.state_dict().items())


def stop_after(steps: int) -> Callable[[], bool]:
    made = iter(range(1, 1_000_000))
    return lambda: next(made) >= steps


def test_a_batch_that_has_grown_is_one_update_of_all_its_images(few: Source, config: Config) -> None:
    # 160 images in batches of 4: 40 an epoch, so at most 4 of them make an update. From the middle on 4 do.
    settings = config(steps=48, batch_size=4, lr=0.05, momentum=0.0, weight_decay=0.0, **STEPPED)
    done = fit(plain_net(), few, settings)
    net = plain_net()
    images = [batch for epoch in (0, 1) for batch in batches(
        few.train, few.input, 4, shuffle=True, seed=0, epoch=epoch, drop_last=True
    )]  # fmt: skip
    updates = [[i] for i in range(24)] + [list(range(i, i + 4)) for i in range(24, 48, 4)]
    for update in updates:
        x, y = (torch.cat([images[i][part] for i in update]) for part in (0, 1))
        net.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.05 * parameter.grad
    assert done.history[-1]["lr"] == 0.05  # the rate stays
    x, y = next(iter(batches(few.val, few.input, len(few.val))))
    loss = float(nn.functional.cross_entropy(net(x), y).detach())
    assert loss == pytest.approx(done.history[-1]["val_loss"], rel=1e-4)


def test_a_growing_batch_resumes_in_the_middle_of_an_update(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    settings = config(epochs=3, batch_size=4, lr=0.02, ema=0.9, clip=1.0, **STEPPED)
    straight = fit(net(dropout=0.3), few, settings)
    for steps in (63, 7, 11):  # after 63, 70 and 81 steps of 120: the second and third with 2 and 1 of 4 batches gathered
        with pytest.raises(Interrupted):
            fit(net(dropout=0.3), few, settings, run=tmp_path, resume=True, stop=stop_after(steps))
    assert same(fit(net(dropout=0.3), few, settings, run=tmp_path, resume=True).model, straight.model)
    with pytest.raises(UsageError, match="grow_batch was"):
        fit(net(), few, TrainConfig.from_json({**settings.to_json(), "grow_batch": False}), run=tmp_path, resume=True)


def test_where_the_batch_cannot_grow_the_rate_falls(few: Source, config: Config) -> None:
    growing = fit(plain_net(), few, config(epochs=2, lr=0.05, **STEPPED))  # 5 steps an epoch: a tenth of them is none
    falling = fit(plain_net(), few, config(epochs=2, lr=0.05, **{**STEPPED, "grow_batch": False}))
    assert same(growing.model, falling.model)
    assert growing.history[-1]["lr"] == pytest.approx(0.05 / 4)


@pytest.mark.parametrize("schedule", ["one_cycle", "triangular(low=0.1)"])
def test_a_schedule_that_rises_does_not_grow_batches(schedule: str) -> None:
    with pytest.raises(UsageError, match="grow_batch needs a schedule that only falls"):
        TrainConfig(steps=10, schedule=schedule, grow_batch=True)


def test_a_batch_of_all_images_is_batch_gradient_descent(few: Source, config: Config) -> None:
    settings = {"optimizer": "gd", "lr": 0.1, "schedule": "fixed", "warmup": 0, "weight_decay": 0.0, "augment": "none"}
    done = fit(plain_net(), few, config(epochs=5, batch_size="all", **settings))
    assert done.steps == 5
    net = plain_net()
    x, y = next(iter(batches(few.train, few.input, len(few.train))))
    for _ in range(5):
        net.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.1 * parameter.grad
    torch.testing.assert_close(done.model[1].weight, net[1].weight, rtol=1e-4, atol=1e-6)
    for wrong in ("al", 0, True, 1.5):
        with pytest.raises(UsageError, match="batch_size must be a whole number from 1, or 'all'"):
            TrainConfig(steps=1, batch_size=wrong)


def test_the_rate_of_a_batch_of_all_is_that_of_its_images(few: Source, config: Config) -> None:
    lrs = {size: fit(plain_net(), few, config(steps=1, batch_size=size, warmup=0)).history[0]["lr"] for size in ("all", 32)}
    assert lrs["all"] == pytest.approx(lrs[32] * 160 / 32)


def test_the_head_learns_first_then_all(few: Source, net: Make, config: Config) -> None:
    start = net()
    done = fit(start, few, config(epochs=4, lr=0.02, head_first=0.5))
    alone = fit(start, few, config(epochs=4, lr=0.02, rates={"*": 0, "8.*": 1}))
    assert [row["val_loss"] for row in done.history[:2]] == [row["val_loss"] for row in alone.history[:2]]
    assert done.history[2]["val_loss"] != alone.history[2]["val_loss"]
    for layer in (0, 3):
        assert torch.equal(start[layer].weight, alone.model[layer].weight)
        assert not torch.equal(start[layer].weight, done.model[layer].weight)
    assert all(parameter.requires_grad for parameter in done.model.parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "kfac", "adabound"])
@pytest.mark.parametrize("stop", [6, 13])
def test_stages_resume_bit_for_bit(
    optimizer: str, stop: int, few: Source, net: Make, config: Config, tmp_path: Path
) -> None:  # fmt: skip
    settings = config(epochs=4, optimizer=optimizer, lr=0.01, head_first=0.45, rates={"0.*": 0}, bias_rate=2.0)
    straight = fit(net(), few, settings)
    assert torch.equal(straight.model[0].weight, net()[0].weight)  # frozen all along
    with pytest.raises(Interrupted):
        fit(net(), few, settings, run=tmp_path, stop=stop_after(stop))
    assert same(fit(net(), few, settings, run=tmp_path, resume=True).model, straight.model)


def test_heads_are_found(net: Make, few: Source, config: Config) -> None:
    x = torch.zeros(2, 1, 8, 8)
    assert head_of(net(), x, 10) == {"8.weight", "8.bias"}
    convolutional = nn.Sequential(nn.Conv2d(1, 10, 3), nn.ReLU(), nn.Conv2d(10, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert head_of(convolutional, x, 10) == {"2.weight", "2.bias"}
    assert not any(module._forward_hooks for module in convolutional.modules())
    exits = edit(net(), "add_exits(at=1)", example=x).model
    heads = head_of(exits, x, 10)
    assert sum(name.endswith("weight") for name in heads) == 2
    with pytest.raises(UsageError, match="ends in 1 with 12 outputs"):
        head_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 12)), x, 10)
    with pytest.raises(UsageError, match="has no such layer"):
        head_of(nn.Flatten(), x, 10)
    with pytest.raises(UsageError, match="head_first needs a last layer that learns"):
        fit(net(), few, config(epochs=1, head_first=0.5, rates={"8.*": 0}))


def test_a_schedule_that_never_falls_is_said_once(few: Source, net: Make, config: Config) -> None:
    said: list[str] = []
    fit(net(), few, config(epochs=4, schedule="fixed"), log=said.append)
    assert [text for text in said if "ends at 100 % of its highest rate" in text and "schedule='cosine'" in text] != []
    said.clear()
    fit(net(), few, config(epochs=4), log=said.append)
    assert not any("highest rate" in text for text in said)
