"""The diagnosis of a net before its first step: what it measures against plain computations, and what it says."""

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.data import Source, batches
from danlu.errors import UsageError
from danlu.train import Diagnosis, diagnose
from danlu.train.diagnose import Layer, trend
from danlu.train.diagnose_report import best, words, write_plot

LAYER = Layer(
    name="a", kind="Linear", activation="ReLU", places=1, weight_std=1.0, outputs=1.0, differs=0.5, activations=1.0,
    gradients=1.0, saturated=0.0, alike=False,
)  # fmt: skip


def stack(activation: Callable[[], nn.Module], depth: int = 10, width: int = 64) -> nn.Sequential:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), activation())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 10))


def first_batch(source: Source, count: int) -> tuple[Tensor, Tensor]:
    return next(iter(batches(source.train, source.input, count, shuffle=True, seed=0, epoch=1)))


def test_a_layer_by_hand(digits: Source) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 10)
    )
    net[0].weight.data.mul_(30)
    (found,) = diagnose(net, digits, images=16)
    x, y = first_batch(digits, 16)
    z = net[0](x)
    t = torch.tanh(functional.batch_norm(z, None, None, training=True))
    logits = net[5](t.flatten(1))
    for tensor in (z, logits):
        tensor.retain_grad()
    functional.cross_entropy(logits, y, reduction="sum").backward()
    conv, fc = found.layers
    assert (conv.name, conv.kind, conv.activation, conv.places) == ("0", "Conv2d", "Tanh", 9)
    assert (fc.name, fc.kind, fc.activation, fc.places, fc.saturated) == ("5", "Linear", "", 1, None)
    with torch.no_grad():
        assert z.grad is not None
        assert logits.grad is not None
        assert conv.outputs == pytest.approx(float(z.var(correction=0)), rel=1e-4)
        assert conv.activations == pytest.approx(float(t.var(correction=0)), rel=1e-4)
        assert conv.gradients == pytest.approx(float(z.grad.var(correction=0)), rel=1e-3)
        assert conv.saturated == pytest.approx(float((t.abs() > 0.97).float().mean()))
        assert conv.weight_std == pytest.approx(float(net[0].weight.std(correction=0)), rel=1e-5)
        units = sum(float(z[:, i].var(correction=0)) for i in range(4)) / 4
        assert conv.differs == pytest.approx(units / float(z.square().mean()), rel=1e-4)
        assert fc.outputs == fc.activations == pytest.approx(float(logits.var(correction=0)), rel=1e-4)
        assert fc.gradients == pytest.approx(float(logits.grad.var(correction=0)), rel=1e-3)
        assert found.loss == pytest.approx(float(functional.cross_entropy(logits, y)) / math.log(10), rel=1e-4)
    assert found.normed


@pytest.mark.parametrize(
    ("activation", "edge"),
    [(nn.Tanh(), 2.0923), (nn.Sigmoid(), 4.1846), (nn.Softsign(), 0.757 / 0.243), (nn.Hardtanh(), 1.0), (nn.Hardsigmoid(), 3.0)],
    ids=lambda value: str(value),
)
def test_saturated_values_lie_beyond_where_the_slope_is_small(activation: nn.Module, edge: float, digits: Source) -> None:
    """Beyond the edge the slope is below 1 - 0.97^2 of the largest (for hard ones 0), on both sides."""
    z = torch.linspace(-10, 10, 20_001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(activation(z).sum(), z)
    small = slopes < 0.0591 * slopes.max()
    assert float(z.detach()[small].abs().min()) == pytest.approx(edge, abs=5e-3)
    assert float(z.detach()[~small].abs().max()) == pytest.approx(edge, abs=5e-3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), activation, nn.Linear(30, 10))
    net[1].weight.data.mul_(8)
    (found,) = diagnose(net, digits, images=32)
    x, _ = first_batch(digits, 32)
    expected = float((net[1](x.flatten(1)).detach().abs() > edge).float().mean())
    assert 0.02 < expected < 0.98
    assert found.layers[0].saturated == pytest.approx(expected, abs=2e-3)


def test_units_of_a_relu_that_are_never_active(digits: Source) -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(288, 10))
    net[0].bias.data[:3] = -1e4
    (found,) = diagnose(net, digits, images=32)
    assert found.layers[0].saturated == pytest.approx(3 / 8)
    net[0].bias.data[:] = -1e4
    (found,) = diagnose(net, digits, images=32)
    assert any("no gradient" in text or "never active" in text for text in words(found))


def test_the_model_stays_as_it_is_and_the_answer_is_one_of_the_seed(digits: Source, net: Callable[..., nn.Sequential]) -> None:
    model = net().train().requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    state = torch.random.get_rng_state()
    inits = ["own", "he", "lsuv", "rbm(steps=1)"]
    found = diagnose(model, digits, inits, images=8, seed=3)
    assert found == diagnose(model, digits, inits, images=8, seed=3)
    assert found[1] != diagnose(model, digits, ["he"], images=8, seed=4)[0]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert [one.init for one in found] == inits
    assert all(layer.gradients > 0 for layer in found[0].layers)  # frozen, and still looked at


@pytest.mark.parametrize(
    ("activation", "right", "wrong"),
    [
        (nn.ReLU, "he", "xavier"),
        (nn.Tanh, "xavier", "normal(std=0.01)"),
        (nn.Identity, "orthogonal", "he"),
        (nn.ReLU, "lsuv", "uniform"),
    ],
)
def test_the_right_scale_keeps_variances_and_the_wrong_one_is_told(
    activation: Callable[[], nn.Module], right: str, wrong: str, digits: Source
) -> None:
    good, bad = diagnose(stack(activation), digits, [right, wrong])
    assert good.forward is not None
    assert good.backward is not None
    assert bad.forward is not None
    assert 0.02 < good.forward < 5  # tanh bends: it loses a little in each layer
    assert 0.1 < good.backward < 10
    assert not 0.01 < bad.forward < 100
    assert words(good) == []
    said = words(bad)
    does = "shrinks" if bad.forward < 1 else "grows"
    assert said[0].startswith(f"the variance of activations {does} by a factor of {bad.forward:.1g} over 10 layers")
    assert {"ReLU": "use he", "Tanh": "use xavier", "Identity": "use xavier"}[activation.__name__] in said[0]
    assert best([bad, good]) is good


def test_the_factor_is_the_power_of_the_depth(digits: Source) -> None:
    """Each layer of ReLUs halves the variance where the weights are those for tanh: 2^-9 over the ten hidden layers."""
    (found,) = diagnose(stack(nn.ReLU, width=64), digits, ["xavier"])
    assert found.forward is not None
    assert math.log2(found.forward) == pytest.approx(-9, abs=2)


def test_what_else_is_told(digits: Source) -> None:
    def said(activation: Callable[[], nn.Module], init: str) -> str:
        return " | ".join(words(diagnose(stack(activation, depth=6), digits, [init], images=16)[0]))

    assert "all weights are one number in 1, 3, 5 and 4 more layers: units that start alike stay alike; use he" in said(
        nn.ReLU, "constant"
    )
    assert "all weights are one number" in said(nn.ReLU, "zero")
    assert "overflow" in said(nn.ReLU, "normal(std=1e9)")
    assert "saturated: the weights are too large; use xavier" in said(nn.Tanh, "normal(std=1)")
    assert "images look alike to" in said(nn.Sigmoid, "xavier")
    assert "take another activation" in said(nn.Sigmoid, "kumar") or said(nn.Sigmoid, "kumar") == ""


def made(**changes: object) -> Diagnosis:
    return Diagnosis("he", 1.0, False, (replace(LAYER, **changes),) * 4)  # type: ignore[arg-type]


def test_words_by_the_numbers() -> None:
    assert words(made()) == []
    assert "never active" in words(made(saturated=0.6))[0]
    assert "saturated" in words(made(saturated=0.6, activation="Tanh"))[0]
    assert "use lsuv" in words(made(saturated=0.6))[0]  # he is what it has
    assert words(replace(made(), init="lsuv", layers=made(saturated=0.6).layers))[0].endswith("fewer layers or batch norms")
    assert "use kumar" in words(made(activation="SiLU", differs=1e-5))[0]
    assert words(replace(made(), loss=9.0)) == ["the loss starts at 9 times that of guessing: the outputs of a are too large"]
    assert words(made(outputs=math.inf)) == [
        "the numbers overflow in a, a, a and 1 more layers: the weights are too large; use lsuv"
    ]
    assert "nothing passes" in words(made(outputs=0.0))[0]
    branch = (replace(LAYER, outputs=0.0, alike=True, gradients=0.0),)  # a branch that starts from zero on purpose
    assert words(replace(made(), layers=made().layers + branch)) == []
    data = made(outputs=math.nan).to_json()
    assert data["forward"] is None
    assert data["layers"][0]["outputs"] is None
    rising = tuple(replace(LAYER, outputs=10.0**i) for i in range(5))
    assert "grows by a factor of 1e+03 over 4 layers" in words(Diagnosis("he", 1.0, False, rising))[0]
    assert words(Diagnosis("he", 1.0, True, rising)) == []
    maps = tuple(replace(LAYER, gradients=10.0**i, places=10 ** (4 - i)) for i in range(5))
    assert Diagnosis("he", 1.0, False, maps).backward == pytest.approx(1)


def test_trend_is_the_line_through_the_logarithms() -> None:
    assert trend([1, 2, 4, 8]) == pytest.approx(8)
    assert trend([8, 0, 2, 1]) == pytest.approx(1 / 8)
    assert trend([1, 2]) is None
    assert trend([0, 0, 0, 1]) is None
    assert trend(list(itertools.accumulate([1e-30] * 12, lambda a, b: a * 1e-25))) == pytest.approx(1e-275, rel=1e-6)


def test_the_plot_needs_no_network_and_has_every_initialisation(tmp_path: Path) -> None:
    found = [made(), replace(made(outputs=0.0, saturated=None), init="zero")]
    write_plot(found, tmp_path / "plot.html", "net on data")
    text = (tmp_path / "plot.html").read_text()
    assert '"name":"he"' in text
    assert '"name":"zero"' in text
    assert '<script src="http' not in text
    assert [path.name for path in tmp_path.iterdir()] == ["plot.html"]
    with pytest.raises(UsageError, match=r"written as \.html"):
        write_plot(found, tmp_path / "plot.png", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inits": ["hee"]}, "he"),
        ({"inits": []}, "takes names"),
        ({"inits": [""]}, "takes names"),
        ({"images": 1}, "at least 2 images"),
    ],
)
def test_wrong_use_is_told(changes: dict[str, object], said: str, digits: Source) -> None:
    with pytest.raises(UsageError, match=said):
        diagnose(stack(nn.ReLU, 1), digits, **changes)  # type: ignore[arg-type]
