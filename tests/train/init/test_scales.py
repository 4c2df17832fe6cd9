"""Scales by closed form: variances of weights, and what a deep stack makes of the variance of activations and of gradients."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from danlu.errors import UsageError
from danlu.spec import read
from danlu.train.init import CONTEXT, inits
from danlu.train.init.kumar import gain
from danlu.zoo import create


def drawn(text: str, net: nn.Module, images: Tensor | None = None) -> nn.Module:
    torch.manual_seed(0)
    read(inits, text, CONTEXT)(net, images=images)
    return net


@pytest.mark.parametrize(
    ("layer", "inputs", "outputs"),
    [
        (lambda: nn.Linear(300, 200), 300, 200), (lambda: nn.Conv2d(32, 64, (3, 5)), 32 * 15, 64 * 15),
        (lambda: nn.Conv2d(64, 128, 3, groups=4), 16 * 9, 32 * 9), (lambda: nn.Conv1d(2000, 2000, 9, groups=2000), 9, 9),
        (lambda: nn.ConvTranspose2d(48, 32, 3), 48 * 9, 32 * 9),
    ],
    ids=["linear", "conv", "grouped", "depthwise", "transposed"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("text", "variance", "uniform"),
    [
        ("normal(std=0.3)", lambda n, m: 0.09, False), ("uniform", lambda n, m: 1 / (3 * n), True),
        ("uniform(limit=0.6)", lambda n, m: 0.12, True), ("xavier", lambda n, m: 2 / (n + m), True),
        ("xavier(distribution='normal', gain=3)", lambda n, m: 18 / (n + m), False), ("he", lambda n, m: 2 / n, False),
        ("he(fan='out', distribution='uniform')", lambda n, m: 2 / m, True), ("he(slope=2)", lambda n, m: 2 / (5 * n), False),
        ("kumar(activation='sigmoid')", lambda n, m: 12.8 / n, False),
    ],
)  # fmt: skip
def test_weights_have_the_variance_of_the_formula(
    layer: Callable[[], Any], inputs: int, outputs: int, text: str, variance: Callable[[int, int], float], uniform: bool
) -> None:
    weight = drawn(text, layer()).weight.detach()
    expected = variance(inputs, outputs)
    assert float(weight.mean()) == pytest.approx(0, abs=5 * (expected / weight.numel()) ** 0.5)
    assert float(weight.var()) == pytest.approx(expected, rel=0.04)
    # The fourth moment tells a uniform distribution (9/5) from a normal one (3).
    assert float(weight.pow(4).mean()) / expected**2 == pytest.approx(1.8 if uniform else 3.0, rel=0.1)


def test_constant_zero_and_a_mean() -> None:
    assert torch.equal(drawn("constant(value=0.5)", nn.Linear(3, 2)).weight, torch.full((2, 3), 0.5))
    assert not drawn("zero", nn.Linear(3, 2)).weight.any()
    assert float(drawn("normal(mean=2, std=0.1)", nn.Linear(100, 100)).weight.detach().mean()) == pytest.approx(2, abs=0.01)


def through(text: str, activation: Callable[[], nn.Module], depth: int = 12, width: int = 256) -> tuple[float, float]:
    """The factor of the mean square of what goes through a stack, and of the gradients that come back."""
    net = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), activation()) for _ in range(depth)))
    torch.manual_seed(1)
    x = torch.randn(64, width, requires_grad=True)
    drawn(text, net, x.detach())
    first = net[0](x)
    y = net[1:](first)
    g = torch.randn_like(y)
    (back,) = torch.autograd.grad(y, first, g)
    forward, backward = y.square().mean() / first.square().mean(), back.square().mean() / g.square().mean()
    return float(forward.detach()), float(backward)


@pytest.mark.parametrize("text", ["xavier", "orthogonal", "he(slope=1)", "normal(std=0.0625)", "kumar"])
def test_a_deep_linear_stack_keeps_both_variances(text: str) -> None:
    forward, back = through(text, nn.Identity)
    assert forward == pytest.approx(1, rel=0.5)
    assert back == pytest.approx(1, rel=0.5)
    if text == "orthogonal":
        assert forward == pytest.approx(1, rel=1e-4)
        assert back == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(("text", "each"), [("uniform", 1 / 3), ("he", 2.0), ("normal(std=0.01)", 256e-4)])
def test_the_wrong_scale_is_a_power_of_the_depth(text: str, each: float) -> None:
    forward, back = through(text, nn.Identity)
    assert math.log(forward) / 11 == pytest.approx(math.log(each), abs=0.1)
    assert math.log(back) / 11 == pytest.approx(math.log(each), abs=0.1)


def test_relu_needs_twice_as_much() -> None:
    assert all(0.5 < factor < 2 for text in ("he", "kumar", "orthogonal(gain=1.4142)") for factor in through(text, nn.ReLU))
    assert math.log2(through("xavier", nn.ReLU)[0]) / 11 == pytest.approx(-1, abs=0.15)
    leaky = [through(f"he(slope={slope})", lambda: nn.LeakyReLU(0.5))[0] for slope in (0.5, 0)]
    assert leaky[0] == pytest.approx(1, rel=0.5)
    assert math.log(leaky[1]) / 11 == pytest.approx(math.log(1.25), abs=0.05)


def test_fan_in_keeps_activations_and_fan_out_gradients() -> None:
    """Where a net narrows, no scale keeps both: a quarter of the outputs, a quarter of the gradient; or four times the output."""
    net = nn.Sequential(nn.Linear(512, 128))
    x = torch.randn(256, 512, requires_grad=True)
    for fan, forward, back in (("in", 2.0, 0.5), ("out", 8.0, 2.0)):
        y = drawn(f"he(fan='{fan}')", net)(x)
        (gradient,) = torch.autograd.grad(y, x, torch.randn_like(y))
        assert float(y.detach().square().mean()) == pytest.approx(forward, rel=0.1)
        assert float(gradient.square().mean()) == pytest.approx(back, rel=0.1)


def test_sigmoids_fade_but_for_kumar() -> None:
    """What differs between images: a layer of sigmoids keeps at most a sixteenth of it at the scale for tanh."""

    def left(text: str) -> float:
        net = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(128, 128), nn.Sigmoid())))
        x = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            return float(drawn(text, net, x)(x).var(0).mean())

    assert left("xavier") < 16.0**-8
    assert left("he") < 8.0**-8
    assert left("kumar") > 4.0**-8  # not 1: the formula is for small inputs, larger ones saturate


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (None, 1), (nn.Tanh(), 1), (nn.Sigmoid(), 12.8), (nn.ReLU(inplace=True), 2), (nn.LeakyReLU(0.1), 2 / 1.01),
        (nn.PReLU(4, init=0.5), 1.6), (nn.GELU(), 4), (nn.SiLU(), 4), (nn.Softplus(), 4 / (1 + math.log(2) ** 2)), (nn.ELU(), 1),
        (nn.Hardtanh(), 1), (nn.Hardsigmoid(), 36 / 1.25), (nn.SELU(), 2 / (1.0507**2 * (1 + 1.67326**2))),
    ],
    ids=str,
)  # fmt: skip
def test_kumars_gain(activation: nn.Module | None, expected: float) -> None:
    assert gain(activation) == pytest.approx(expected, rel=1e-4)


def test_kumar_goes_by_the_activation_behind_each_layer() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 200, 3), nn.BatchNorm2d(200), nn.ReLU(), nn.Flatten(), nn.Linear(200, 300), nn.Sigmoid(), nn.Linear(300, 300)
    )  # fmt: skip
    drawn("kumar", net, torch.randn(3, 4, 3, 3))
    variances = [float(net[i].weight.detach().var()) for i in (0, 4, 6)]
    assert variances == pytest.approx([2 / 36, 12.8 / 200, 1 / 300], rel=0.05)


class LateReLU(nn.ReLU):
    """max(0, x - 1): flat at 0."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input - 1)


def test_kumar_takes_an_activation_that_is_written() -> None:
    net = nn.Sequential(nn.Linear(200, 300), nn.ReLU())
    for text, expected in (("leaky_relu(slope=0.5)", 1.6), ("linear", 1.0), ("sigmoid", 12.8)):
        drawn(f"kumar(activation='{text}')", net)
        assert float(net[0].weight.detach().var()) == pytest.approx(expected / 200, rel=0.03)
    with pytest.raises(UsageError, match="tanh"):
        drawn("kumar(activation='tanhh')", net)


def test_kumar_refuses_an_activation_that_is_flat_at_zero() -> None:
    with pytest.raises(UsageError, match="Step has no slope at 0"):
        drawn("kumar(activation='step')", nn.Linear(4, 4))
    with pytest.raises(UsageError, match="LateReLU has no slope at 0"):
        drawn("kumar", nn.Sequential(nn.Linear(4, 4), LateReLU()), torch.randn(2, 4))


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(20, 30), nn.Linear(30, 20), nn.Conv2d(8, 12, 3, groups=4), nn.Conv2d(6, 64, 1), nn.ConvTranspose2d(9, 4, 3)],
    ids=str,
)  # fmt: skip
def test_orthogonal_rows_or_columns_of_each_group(layer: Any) -> None:
    drawn("orthogonal(gain=2)", layer)
    for group in layer.weight.detach().chunk(getattr(layer, "groups", 1)):
        matrix = group.flatten(1)
        square = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
        torch.testing.assert_close(square, 4 * torch.eye(len(square)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("recipe", ["resnet8(width=0.5)", "lenet5_caffe", "vgg11_bn(width=0.0625) | fit_input(size=32)"])
@pytest.mark.parametrize("variance", [1.0, 0.25])
def test_lsuv_gives_each_layer_that_variance_on_the_images(recipe: str, variance: float) -> None:
    net = create(recipe, num_classes=10, in_channels=1 if "lenet" in recipe else 3, seed=0)
    side = 28 if "lenet" in recipe else 32
    x = 5 + 3 * torch.randn(16, 1 if "lenet" in recipe else 3, side, side)
    drawn(f"lsuv(variance={variance})", net, x)
    seen: dict[str, float] = {}
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, inputs, output, name=name: seen.__setitem__(name, float(output.var())))
        elif isinstance(layer, nn.Dropout):
            layer.p = 0.0
    with torch.no_grad():
        net.train()(x)
    assert len(seen) >= 5 - ("lenet" in recipe)
    assert list(seen.values()) == pytest.approx([variance] * len(seen), rel=1e-3)
    fc = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1].weight.detach()
    lengths = (fc @ fc.T).diagonal()
    torch.testing.assert_close(fc @ fc.T, torch.diag(lengths.mean().expand(10)), atol=1e-4, rtol=1e-3)  # still orthogonal


def test_lsuv_leaves_a_layer_orthogonal_where_nothing_arrives() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    drawn("lsuv", net, torch.zeros(5, 4))
    assert all(bool(parameter.isfinite().all()) for parameter in net.parameters())
    torch.testing.assert_close(net[2].weight @ net[2].weight.T, torch.eye(3), atol=1e-5, rtol=1e-5)
