"""L1, L2 and max-norm against sums and projections in plain loops, and L2 against weight decay."""

import numpy as np
import pytest
import torch
from torch import nn

from danlu.train.optimizers import build, set_rate
from danlu.train.regularizers import regularizers


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.ConvTranspose2d(3, 2, 2), nn.Flatten(), nn.Linear(2 * 9, 4)
    ).double()  # fmt: skip


@pytest.mark.parametrize(("name", "each"), [("l1", abs), ("l2", lambda w: w * w / 2)])
def test_a_penalty_is_the_sum_over_the_weights(name: str, each: object) -> None:
    model = net()
    weights = [model[0].weight, model[3].weight, model[5].weight]
    expected = 0.3 * sum(each(float(w)) for weight in weights for w in weight.detach().flatten())
    penalty = regularizers[name].build(strength=0.3).penalty(model)
    assert float(penalty.detach()) == pytest.approx(expected, rel=1e-12)
    penalty.backward()
    for weight in weights:
        slope = weight.sign() if name == "l1" else weight
        assert torch.allclose(weight.grad, 0.3 * slope, rtol=1e-12)
    assert model[1].weight.grad is None
    assert model[0].bias.grad is None


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_a_penalty_has_a_gradient_at_zero(name: str) -> None:
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    regularizers[name].build().penalty(model).backward()
    assert torch.equal(model.weight.grad, torch.zeros(2, 3))


@pytest.mark.parametrize(("optimizer", "one"), [("sgd", True), ("adam", True), ("adamw", False)])
def test_l2_is_the_coupled_weight_decay_and_not_the_decoupled_one(optimizer: str, one: bool) -> None:
    weights = []
    for decay, strength in [(0.1, 0.0), (0.0, 0.1)]:
        model = nn.Linear(5, 3, bias=False).double()
        with torch.no_grad():
            model.weight.copy_(torch.arange(15.0).view(3, 5) / 10 - 0.7)
        settings = {"lr": 0.05, "weight_decay": decay, "momentum": 0.9, "nesterov": True}
        stepper = build(optimizer, model, **settings)
        set_rate(stepper, 0.05)
        for step in range(5):
            x = torch.sin(torch.arange(20.0, dtype=torch.float64) * (step + 1)).view(4, 5)
            loss = model(x).square().mean()
            if strength:
                loss = loss + regularizers["l2"].build(strength=strength).penalty(model)
            stepper.zero_grad()
            loss.backward()
            stepper.step()
        weights.append(model.weight.detach())
    assert torch.allclose(*weights, rtol=1e-9) == one


def test_max_norm_projects_each_unit_on_a_ball() -> None:
    model = net()
    before = {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}
    limit = 0.5
    regularizers["max_norm"].build(limit=limit).after_step(model)
    shortened = 0
    for name, parameter in model.named_parameters():
        old, new = before[name], parameter.detach().numpy()
        if parameter.ndim == 1:
            assert np.array_equal(old, new)
            continue
        axis = 1 if name == "3.weight" else 0  # a transposed convolution counts its outputs second
        for unit in range(old.shape[axis]):
            row, found = np.take(old, unit, axis), np.take(new, unit, axis)
            length = float(np.sqrt((row**2).sum()))
            shortened += length > limit
            np.testing.assert_allclose(found, row * min(1.0, limit / length), rtol=1e-12)
    assert 0 < shortened < 9


def test_max_norm_leaves_what_is_zero_or_inside() -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [0.1, -0.2, 0.3]]))
    before = model.weight.detach().clone()
    regularizers["max_norm"].build(limit=1.0).after_step(model)
    assert torch.equal(model.weight, before)
