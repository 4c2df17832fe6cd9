"""Squeeze and excitation against the formula in plain loops."""

import math

import pytest
import torch
from torch import fx, nn

from danlu.errors import UsageError
from danlu.nn import SqueezeExcitation
from danlu.nn.squeeze_excitation import hidden_width


def test_each_channel_is_scaled_by_what_two_small_layers_make_of_all_means() -> None:
    torch.manual_seed(0)
    layer = SqueezeExcitation(12, reduction=1).double()
    x = torch.randn(2, 12, 3, 5, dtype=torch.float64)
    y = layer(x)
    w1, b1, w2, b2 = (tensor.tolist() for tensor in layer.state_dict().values())
    for image, out in zip(x, y, strict=True):
        means = [sum(channel.flatten().tolist()) / 15 for channel in image]
        hidden = [max(0.0, sum(w * m for w, m in zip(row, means, strict=True)) + b) for row, b in zip(w1, b1, strict=True)]
        for c in range(12):
            score = sum(w * h for w, h in zip(w2[c], hidden, strict=True)) + b2[c]
            torch.testing.assert_close(out[c], image[c] / (1 + math.exp(-score)))


def test_a_closed_gate_stops_a_channel_and_an_open_one_lets_it_pass() -> None:
    layer = SqueezeExcitation(4)
    nn.init.zeros_(layer.excite.weight)
    with torch.no_grad():
        layer.excite.bias.copy_(torch.tensor([0.0, 1e4, -1e4, 1e4]))
    x = torch.randn(2, 4, 6, 6)
    y = layer(x)
    assert torch.equal(y[:, 0], x[:, 0] / 2)
    assert torch.equal(y[:, [1, 3]], x[:, [1, 3]])
    assert not y[:, 2].any()


@pytest.mark.parametrize(
    ("channels", "reduction", "hidden"), [(64, 16, 8), (128, 16, 8), (256, 16, 16), (2048, 16, 128), (16, 4, 8), (96, 4, 24)]
)
def test_hidden_widths_are_multiples_of_8(channels: int, reduction: int, hidden: int) -> None:
    layer = SqueezeExcitation(channels, reduction=reduction)
    assert hidden_width(channels, reduction) == hidden == layer.squeeze.out_features == layer.excite.in_features
    assert sum(p.numel() for p in layer.parameters()) == 2 * channels * hidden + hidden + channels


def test_it_traces_and_has_the_right_gradient() -> None:
    torch.manual_seed(0)
    layer = SqueezeExcitation(3, reduction=2).double()
    layer.relu.inplace = False
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))


@pytest.mark.parametrize("reduction", [0, -1, 2.0, "4", True])
def test_a_bad_reduction_is_refused(reduction: object) -> None:
    with pytest.raises(UsageError, match="reduction is a whole number from 1"):
        SqueezeExcitation(16, reduction=reduction)  # type: ignore[arg-type]
