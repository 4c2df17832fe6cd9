"""Learning rates by parameter name: multipliers, freezing, and that a training with them is repeatable."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.data import Source
from danlu.errors import UsageError
from danlu.train import Interrupted, TrainConfig, fit
from danlu.train import plan as planning
from danlu.train.optimizers import build, freeze, groups_of, multipliers, set_rate
from danlu.train.state import State

Make = Callable[..., nn.Sequential]
Config = Callable[..., TrainConfig]


def two() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def test_the_last_matching_pattern_counts() -> None:
    got = multipliers(two(), {"*": 0.5, "2.*": 10, "2.bias": 0})
    assert got == {"0.weight": 0.5, "0.bias": 0.5, "1.weight": 0.5, "1.bias": 0.5, "2.weight": 10, "2.bias": 0}
    assert set(multipliers(two(), {}).values()) == {1.0}


def test_a_pattern_without_a_parameter_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'fc.\*' matches no parameter; their names are 0.weight, 0.bias"):
        multipliers(two(), {"fc.*": 2})


def test_every_parameter_is_in_one_group_with_its_factor_and_decay() -> None:
    net = two()
    groups = groups_of(net, 0.1, {"2.*": 10})
    placed = {id(p): (group["rate"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert placed == {
        id(net[0].weight): (1, 0.1), id(net[0].bias): (1, 0), id(net[1].weight): (1, 0), id(net[1].bias): (1, 0),
        id(net[2].weight): (10, 0.1), id(net[2].bias): (10, 0),
    }  # fmt: skip
    assert sum(len(group["params"]) for group in groups) == 6


def test_one_step_of_sgd_moves_by_the_factor() -> None:
    net = two()
    optimizer = build(
        "sgd", net, lr=0.1, weight_decay=0.0, rates={"*": 1, "0.*": 0, "2.weight": 10}, momentum=0.0, nesterov=False
    )
    set_rate(optimizer, 0.01)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    net(torch.ones(5, 3)).square().sum().backward()
    optimizer.step()
    moved = {name: (before[name] - p.detach(), p.grad) for name, p in net.named_parameters()}
    assert not moved["0.weight"][0].any()
    torch.testing.assert_close(moved["2.bias"][0], 0.01 * moved["2.bias"][1])
    torch.testing.assert_close(moved["2.weight"][0], 0.1 * moved["2.weight"][1])


def test_nothing_left_to_train() -> None:
    with pytest.raises(UsageError, match="no trainable parameters"):
        build("sgd", two(), lr=0.1, weight_decay=0.0, rates={"*": 0}, momentum=0.9, nesterov=True)


def test_frozen_parameters_get_no_gradient_until_thawed() -> None:
    net = two()
    assert freeze(net, {"0.*": 0}) == [net[0].weight, net[0].bias]
    net(torch.ones(2, 3)).sum().backward()
    assert net[0].weight.grad is None
    assert net[2].weight.grad is not None
    net = two()
    net[1].weight.requires_grad_(False)  # the user's own
    state = State(net, TrainConfig(steps=1, rates={"0.*": 0}))
    assert not net[0].weight.requires_grad
    state.thaw()
    assert net[0].weight.requires_grad
    assert not net[1].weight.requires_grad
    assert state.set_rate(0.5) == pytest.approx(state.base_rate / 2)


def test_training_keeps_what_is_frozen_and_gives_the_gradients_back(few: Source, net: Make, config: Config) -> None:
    start = net()
    done = fit(start, few, config(epochs=2, lr=0.02, clip=1.0, rates={"*": 0, "8.*": 5}))
    after = done.model
    for name, parameter in start.named_parameters():
        same = torch.equal(parameter, after.get_parameter(name))
        assert same == (not name.startswith("8.")), name
    assert all(parameter.requires_grad for parameter in after.parameters())


def test_factors_of_one_change_nothing(few: Source, net: Make, config: Config) -> None:
    plain = fit(net(), few, config(epochs=1, lr=0.02)).model.state_dict()
    same = fit(net(), few, config(epochs=1, lr=0.02, rates={"*": 1.0})).model.state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in plain.items())


def test_resumed_bit_for_bit(few: Source, net: Make, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))
    settings = config(epochs=3, lr=0.02, ema=0.9, rates={"0.*": 0, "8.*": 10, "*.bias": 2})
    straight = fit(net(), few, settings).model.state_dict()
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        fit(net(), few, settings, run=tmp_path, stop=lambda: next(steps) >= 6)
    with pytest.raises(UsageError, match="rates was"):
        fit(net(), few, config(epochs=3, lr=0.02, ema=0.9), run=tmp_path, resume=True)
    resumed = fit(net(), few, settings, run=tmp_path, resume=True).model.state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in straight.items())


@pytest.mark.parametrize("rates", [{"a": -1}, {"a": True}, {"a": "1"}, {"": 1}, {"a": float("nan")}, {1: 1}, [("a", 1)]])
def test_bad_rates_are_refused(rates: object) -> None:
    with pytest.raises(UsageError, match="rates must map patterns"):
        TrainConfig(steps=1, rates=rates)


def test_json_and_the_text_of_the_command_line() -> None:
    from danlu.cli.train import factors

    config = TrainConfig(steps=1, rates={"*": 0, "a.*": 10})
    assert TrainConfig.from_json(config.to_json()) == config
    assert factors("*=0, a.*=10,b.weight=2.5") == {"*": 0, "a.*": 10, "b.weight": 2.5}
    assert list(factors("*=0,a.*=10")) == ["*", "a.*"]
    for wrong in ("a", "a=b", "=3"):
        with pytest.raises(UsageError, match="not understood"):
            factors(wrong)
