"""Optimisers: who decays, and update rules by hand."""

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.train import TrainConfig
from danlu.train.optimizers import SCALINGS, build, default_rate, freeze, groups_of, multipliers
from danlu.train.optimizers.adabound import AdaBound
from danlu.train.optimizers.adafactor import Adafactor
from danlu.train.state import State

OPTIONS = {"momentum": 0.9, "nesterov": True}


def test_only_weights_decay() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.LayerNorm((4, 2, 2)), nn.Linear(16, 2)
    )
    decayed, spared = groups_of(net, 0.01)
    assert [id(p) for p in decayed["params"]] == [id(net[0].weight), id(net[5].weight)]
    assert decayed["weight_decay"] == 0.01
    assert spared["weight_decay"] == 0
    # The scale of LayerNorm has three dimensions here, and still is no weight.
    assert id(net[4].weight) in {id(p) for p in spared["params"]}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(net.parameters()))


def test_frozen_parameters_are_left_out() -> None:
    net = nn.Linear(3, 2)
    net.weight.requires_grad_(False)
    assert [p.shape for group in groups_of(net, 0.1) for p in group["params"]] == [(2,)]
    net.bias.requires_grad_(False)
    with pytest.raises(UsageError, match="no trainable parameters"):
        build("sgd", net, lr=0.1, weight_decay=0, **OPTIONS)


def one_weight() -> nn.Linear:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 2.0)
    return net


def run(name: str, gradients: list[float], **settings: float) -> float:
    net = one_weight()
    optimizer = build(name, net, **{**OPTIONS, **settings})
    for gradient in gradients:
        net.weight.grad = torch.full_like(net.weight, gradient)
        optimizer.step()
    return float(net.weight.detach())


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_by_hand(nesterov: bool) -> None:
    weight, velocity, rate, decay = 2.0, 0.0, 0.1, 0.01
    for gradient in (1.0, -0.5, 2.0):
        full = gradient + decay * weight
        velocity = 0.9 * velocity + full
        weight -= rate * (full + 0.9 * velocity if nesterov else velocity)
    assert run("sgd", [1.0, -0.5, 2.0], lr=rate, weight_decay=decay, nesterov=nesterov) == pytest.approx(weight, rel=1e-6)


def test_adam_couples_decay_and_adamw_does_not() -> None:
    # The first step of Adam is the rate times the sign of what it is given.
    assert run("adam", [0.0], lr=0.1, weight_decay=0.5) == pytest.approx(2.0 - 0.1, rel=1e-5)
    assert run("adamw", [0.0], lr=0.1, weight_decay=0.5) == pytest.approx(2.0 * (1 - 0.1 * 0.5), rel=1e-6)
    assert run("adamw", [-3.0], lr=0.1, weight_decay=0.0) == pytest.approx(2.0 + 0.1, rel=1e-5)


def test_default_rates_grow_with_the_batch() -> None:
    plain, normed = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert default_rate("sgd", 256, normed) == pytest.approx(2 * default_rate("sgd", 128, normed))
    assert default_rate("adam", 512, plain) == pytest.approx(2 * default_rate("adam", 128, plain))
    assert default_rate("sgd", 128, plain) < default_rate("sgd", 128, normed)


def test_scaling_with_the_batch() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    at = {scaling: default_rate("adam", 512, net, scaling=scaling) / 1e-3 for scaling in SCALINGS}
    assert at == pytest.approx({"auto": 2, "linear": 4, "sqrt": 2, "none": 1})
    # A rate that is given is that of 128 images, unless nothing is said of scaling.
    given = {scaling: default_rate("sgd", 512, net, lr=0.3, scaling=scaling) for scaling in SCALINGS}
    assert given == pytest.approx({"auto": 0.3, "linear": 1.2, "sqrt": 0.6, "none": 0.3})
    assert default_rate("sgd(lr=0.3)", 512, net) == pytest.approx(0.3)
    assert State(net, TrainConfig(steps=1, lr=0.1, batch_size=32, scaling="linear")).base_rate == pytest.approx(0.025)
    with pytest.raises(UsageError, match="did you mean linear"):
        TrainConfig(steps=1, scaling="linea")


def test_settings_of_a_training_are_not_options_of_an_optimizer() -> None:
    # gamma, clip and the like exist in both, and mean something else.
    settings = TrainConfig(steps=1, gamma=0.5, clip=0.0).to_json()
    optimizer = build("adabound", nn.Linear(2, 2), **{**settings, "lr": 0.1})
    assert isinstance(optimizer, AdaBound)
    assert optimizer.gamma == 1e-3
    factored = build("adafactor", nn.Linear(2, 2), **{**settings, "lr": 0.1})
    assert isinstance(factored, Adafactor)
    assert factored.clip == 1.0


def test_biases_at_twice_the_rate_as_in_caffe() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    got = multipliers(net, {"3.*": 10}, bias_rate=2.0)
    assert got == {"0.weight": 1, "0.bias": 2, "1.weight": 1, "1.bias": 1, "3.weight": 10, "3.bias": 20}
    placed = {id(p): (group["rate"], group["weight_decay"]) for group in groups_of(net, 0.1, {}, 2.0) for p in group["params"]}
    assert placed[id(net[0].bias)] == (2, 0)
    assert placed[id(net[0].weight)] == (1, 0.1)
    assert freeze(net, {}, bias_rate=0.0) == [net[0].bias, net[3].bias]


def test_adafactor_keeps_rows_and_columns() -> None:
    net = nn.Linear(50, 40, bias=False)
    optimizer = build("adafactor", net, lr=0.01, weight_decay=0.0)
    net(torch.ones(2, 50)).sum().backward()
    optimizer.step()
    state = optimizer.state[net.weight]
    assert sum(tensor.numel() for tensor in state.values() if tensor.ndim) == 50 + 40  # of 2,000
