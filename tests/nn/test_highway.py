"""The gated shortcut, against its formula with the convolutions written as loops."""

import pytest
import torch
from torch import nn

from danlu.nn import Highway


def convolved(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """A 3x3 convolution with padding 1, pixel by pixel."""
    batch, _, height, width = x.shape
    padded = torch.zeros(batch, x.shape[1], height + 2, width + 2, dtype=x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    y = torch.empty(batch, conv.out_channels, height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            y[:, :, i, j] = (padded[:, None, :, i : i + 3, j : j + 3] * conv.weight).sum((2, 3, 4)) + conv.bias
    return y


@pytest.fixture
def layer() -> Highway:
    torch.manual_seed(0)
    return Highway(3).double()


def test_is_its_formula(layer):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        gate = 1 / (1 + (-convolved(x, layer.gate)).exp())
        torch.testing.assert_close(layer(x), convolved(x, layer.conv).clamp(min=0) * gate + x * (1 - gate))


def test_the_ends_of_the_gate(layer):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    nn.init.zeros_(layer.gate.weight)
    nn.init.constant_(layer.gate.bias, -50)
    torch.testing.assert_close(layer(x), x)
    nn.init.constant_(layer.gate.bias, 50)
    torch.testing.assert_close(layer(x), layer.conv(x).relu())


def test_a_fresh_gate_is_nearly_closed(layer):
    assert torch.equal(layer.gate.bias, torch.full((3,), -2.0, dtype=torch.float64))
    opened = layer.sigmoid(layer.gate(torch.zeros(1, 3, 1, 1, dtype=torch.float64)))
    assert opened.mean().item() == pytest.approx(0.1192, abs=1e-4)
    nn.init.zeros_(layer.gate.bias)
    layer.close()
    assert torch.equal(layer.gate.bias, torch.full((3,), -2.0, dtype=torch.float64))


def test_gradients_and_tracing(layer):
    x = torch.randn(1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    traced = torch.fx.symbolic_trace(layer)
    assert torch.equal(traced(x), layer(x))
