"""CReLU against its definition, value by value, and against what it must keep: x can be read back."""

import pytest
import torch
from torch import fx, nn

from danlu.nn import CReLU, WithNegative


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5), (2, 3, 4, 5)])
def test_the_positive_part_then_the_negative(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    y = CReLU()(x)
    positive, negative = y.split(shape[1], dim=1)
    for value, up, down in zip(x.flatten().tolist(), positive.flatten().tolist(), negative.flatten().tolist(), strict=True):
        assert (up, down) == (max(value, 0.0), max(-value, 0.0))
    assert torch.equal(positive - negative, x), "nothing is lost"


def test_scale_and_shift_work_on_each_output_before_the_relu() -> None:
    torch.manual_seed(0)
    layer = CReLU(3).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(layer(x), CReLU()(x)), "at first they are 1 and 0"
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    y = layer(x)
    for c in range(6):
        source = x[:, c] if c < 3 else -x[:, c - 3]
        torch.testing.assert_close(y[:, c], (layer.weight[c] * source + layer.bias[c]).clamp(min=0))


def test_a_norm_behind_the_negatives_is_the_scaled_form() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6).double().eval()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    scaled = CReLU(3).double()
    scaled.load_state_dict({"weight": norm.weight / (1 + norm.eps) ** 0.5, "bias": norm.bias})
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(nn.Sequential(WithNegative(), norm, nn.ReLU())(x), scaled(x))


def test_keeps_the_mean_square_of_a_relu_layer() -> None:
    # mean of relu(x)^2 over x ~ N(0, 1) is 1/2, and so is that of both halves: the layer behind needs no other weights.
    y = CReLU()(torch.randn(1, 100_000, generator=torch.Generator().manual_seed(0)))
    assert y.square().mean().item() == pytest.approx(0.5, rel=0.02)


def test_can_be_traced() -> None:
    x = torch.randn(2, 3, 4, 4)
    for layer in (CReLU(), CReLU(3), WithNegative()):
        assert torch.equal(fx.symbolic_trace(layer)(x), layer(x))
