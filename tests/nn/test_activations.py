"""Activations: each against its published formula number by number, gradients by differences, in ONNX, and what all promise."""

import inspect
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, fx, nn

from danlu.data import Input
from danlu.deploy.onnx import convert
from danlu.errors import UsageError
from danlu.nn import ComposedActivation, Step, Swish, layers
from danlu.nn.activations import BINARY, UNARY, Activation, activations, build

DOCS = Path(__file__).parents[2] / "docs" / "activations.md"
COMPOSED = "composed(unary1='x', unary2='gate', binary='mul')"
EVERY = {name: COMPOSED if name == "composed" else name for name in activations.names()}


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


FORMULAS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "lrelu": lambda x: x if x > 0 else 0.01 * x,
    "leaky_relu(slope=0.2)": lambda x: x if x > 0 else 0.2 * x,
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "prelu(slope=0.125)": lambda x: x if x > 0 else 0.125 * x,
    "rrelu": lambda x: x if x > 0 else (1 / 8 + 1 / 3) / 2 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "elu(alpha=2)": lambda x: x if x > 0 else 2 * (math.exp(x) - 1),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (math.exp(x) - 1)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu(approximate='tanh')": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * sigma(x),
    "swish": lambda x: x * sigma(x),
    "swish(beta=2.5, learned=False)": lambda x: x * sigma(2.5 * x),
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "mish": lambda x: x * math.tanh(math.log(1 + math.exp(x))),
    "elish": lambda x: x * sigma(x) if x >= 0 else (math.exp(x) - 1) * sigma(x),
    "hard_elish": lambda x: (x if x >= 0 else math.exp(x) - 1) * max(0, min(1, (x + 1) / 2)),
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "softplus(beta=3)": lambda x: math.log(1 + math.exp(3 * x)) / 3,
    "sinusoid": math.sin,
    "sinusoid(omega=30)": lambda x: math.sin(30 * x),
    "tanh": math.tanh,
    "sigmoid": sigma,
    "step": lambda x: 1.0 if x >= 0 else 0.0,
    COMPOSED: lambda x: x * sigma(x),
    "composed(unary1='relu', unary2='bell', binary='add')": lambda x: max(x, 0) + math.exp(-x * x),
}
# The functions of the search space: b(u, u') for numbers, beta 1.
ONE: dict[str, Callable[[float], float]] = {
    "x": lambda x: x, "neg": lambda x: -x, "abs": abs, "square": lambda x: x**2, "cube": lambda x: x**3,
    "sqrt": lambda x: math.sqrt(abs(x) + 1e-3), "scale": lambda x: x, "shift": lambda x: x + 1,
    "log": lambda x: math.log(abs(x) + 1e-3), "exp": math.exp, "sin": math.sin, "cos": math.cos, "sinh": math.sinh,
    "cosh": math.cosh, "tanh": math.tanh, "asinh": math.asinh, "atan": math.atan,
    "sinc": lambda x: math.sin(x) / x if x else 1.0, "relu": lambda x: max(x, 0.0), "min0": lambda x: min(x, 0.0),
    "sigmoid": sigma, "gate": sigma, "softplus": lambda x: math.log(1 + math.exp(x)), "bell": lambda x: math.exp(-x * x),
    "erf": math.erf, "beta": lambda x: 1.0,
}  # fmt: skip
TWO: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "sub": lambda a, b: a - b,
    "div": lambda a, b: a / (b - 1e-3 if b < 0 else b + 1e-3), "max": max, "min": min, "gated": lambda a, b: sigma(a) * b,
    "near": lambda a, b: math.exp(-((a - b) ** 2)), "close": lambda a, b: math.exp(-abs(a - b)), "mix": lambda a, b: a,
}  # fmt: skip


def test_every_name_has_a_formula_here() -> None:
    assert {text.split("(")[0] for text in FORMULAS} == set(activations.names())
    assert (set(ONE), set(TWO)) == (set(UNARY), set(BINARY))


@pytest.mark.parametrize("text", FORMULAS)
def test_computes_the_formula(text: str) -> None:
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[text](v) for v in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(build(text).double().eval()(x), expected, rtol=1e-9, atol=1e-9)


def test_compositions_compute_theirs() -> None:
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    pairs = [(u, "tanh", "add") for u in ONE] + [("x", u, "mul") for u in ONE] + [("sin", "cube", b) for b in TWO]
    for first, second, both in pairs:
        expected = [TWO[both](ONE[first](v), ONE[second](v)) for v in x.tolist()]
        got = ComposedActivation(first, second, both).double()(x)
        torch.testing.assert_close(
            got, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-7, msg=f"{first} {second} {both}"
        )


@pytest.mark.parametrize("text", [*EVERY.values(), *(f"composed(unary1='{u}', unary2='sin', binary='mix')" for u in UNARY)])
def test_gradients_are_those_of_differences(text: str) -> None:
    layer = build(text).double().eval()
    x = torch.tensor([-3.3, -1.7, -0.6, 0.4, 0.0007, 0.9, 2.2], dtype=torch.float64, requires_grad=True)
    inputs = (x, *layer.parameters())

    def call(x: Tensor, *weights: Tensor) -> Tensor:
        names = [name for name, _ in layer.named_parameters()]
        y: Tensor = torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))
        return y

    if text == "step":
        with pytest.raises(RuntimeError, match="does not require grad"):  # of a step in eval mode nothing is left to follow
            layer(x).sum().backward()
        return
    assert torch.autograd.gradcheck(call, inputs, eps=1e-6, atol=1e-5)


def test_a_step_teaches_by_the_slope_of_its_ramp() -> None:
    x = torch.tensor([-1.1, -0.9, 0.0, 0.9, 1.1], requires_grad=True)
    y = Step(window=2.0)(x)
    assert y.tolist() == [0, 0, 1, 1, 1]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0.5, 0.5, 0.5, 0]
    assert not Step(window=0)(x).requires_grad


def test_the_beta_of_a_swish_is_learned() -> None:
    torch.manual_seed(0)
    x = torch.randn(256)
    layer, goal = Swish(), x * torch.sigmoid(3 * x)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(120):
        optimizer.zero_grad()
        (layer(x) - goal).square().mean().backward()
        optimizer.step()
    assert layer.weight.item() == pytest.approx(3, abs=0.05)
    assert not list(Swish(learned=False).parameters())


@pytest.mark.parametrize("name", EVERY)
def test_shapes_types_and_traces(name: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        layer = build(EVERY[name]).to(dtype)
        for shape in ((3,), (2, 5), (2, 3, 4, 4), (0, 3)):
            y = layer(torch.randn(shape).to(dtype))
            assert (y.shape, y.dtype) == (shape, dtype)
    layer, x = build(EVERY[name]).eval(), 3 * torch.randn(4, 6)
    torch.manual_seed(1)
    first = layer(x)
    assert torch.equal(first, layer(x))
    assert torch.equal(fx.symbolic_trace(nn.Sequential(layer))(x), first)
    assert not getattr(layer, "inplace", False)


@pytest.mark.parametrize("name", EVERY)
def test_says_what_it_is(name: str) -> None:
    entry = activations[name]
    module = inspect.getmodule(entry.build)
    assert module is not None
    assert "Source: " in (module.__doc__ or "")
    assert len((module.__doc__ or "").split("\n\n")[0].splitlines()) <= 3
    assert entry.summary.endswith((".", ";", ":"))
    assert f"| `{name}" in DOCS.read_text()
    kind = type(build(EVERY[name]))
    assert kind.__module__.startswith("torch.nn.") or (issubclass(kind, Activation) and layers[kind.__name__].build is kind)


def test_all_run_in_onnx() -> None:
    class All(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            pairs = [(u, "tanh", "add") for u in UNARY] + [("sin", "softplus", b) for b in BINARY]
            self.parts = nn.ModuleList([build(text) for text in EVERY.values()] + [ComposedActivation(*p) for p in pairs])

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([part(x) for part in self.parts], 1)

    net, x = All().eval(), torch.linspace(-3, 3, 26).view(1, 1, 1, 26)
    proto = convert(net, Input((1, 26), 1, (0.0,), (1.0,)))
    running = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(running.run(["logits"], {"input": x.numpy()})[0], net(x).detach().numpy(), rtol=2e-5, atol=2e-5)


def test_random_compositions_differ_only_where_they_should() -> None:
    draw = random.Random(0)
    x = torch.randn(50)
    for _ in range(40):
        first, second = draw.choice(list(UNARY)), draw.choice(list(UNARY))
        a, b = ComposedActivation(first, second, "add")(x), ComposedActivation(second, first, "add")(x)
        torch.testing.assert_close(a, b)


def test_usage() -> None:
    for text, message in (
        ("swich", "unknown activation 'swich'; did you mean swish"),
        ("maxout(pieces=2)", "maxout gives a part of the channels"),
        ("elu(alpha=0)", "elu: alpha must be above 0, got 0"),
        ("rrelu(lower=0.5)", "lower must be at most upper, got lower=0.5"),
        ("step(window=-1)", "window must be from 0, got -1"),
        ("sinusoid(omega=0)", "omega must be above 0"),
        ("gelu(approximate='sigmoid')", "gelu: approximate takes 'none' or 'tanh', got 'sigmoid'"),
        ("composed(unary1='x', unary2='sinn', binary='mul')", "unknown unary function 'sinn'; did you mean sin"),
        ("composed(unary1='x', unary2='sin', binary='pow')", "unknown binary function 'pow'"),
        ("composed(unary1='x', unary2='sin')", "composed needs binary"),
    ):
        with pytest.raises(UsageError, match=message.replace("(", r"\(").replace(".", r"\.").replace("?", r"\?")):
            build(text)
