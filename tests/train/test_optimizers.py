"""Optimisers: who decays, and update rules by hand."""

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.train import optimizers
from danlu.train.optimizers import build, default_rate, groups_of

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


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_descends(name: str) -> None:
    net = one_weight()
    optimizer = build(name, net, lr=0.05, weight_decay=0.0, **OPTIONS)
    for _ in range(50):
        (net.weight**2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert abs(float(net.weight.detach())) < 1.0
