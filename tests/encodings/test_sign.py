"""Sign: values, scales, straight-through gradients and clipping against the papers' formulas."""

import math

import pytest
import torch
from torch import nn

from danlu.encodings import Sign, bake, encode
from danlu.encodings.sign import half


def encoded_linear(weight, **options):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    layer.weight = nn.Parameter(weight.clone())
    encode(layer, "weight", Sign(**options, shape=weight.shape))
    return layer


def test_zero_of_either_sign_is_plus():
    layer = encoded_linear(torch.tensor([[0.0, -0.0, -1e-30, 1e-30, -3.0, 3.0]]))
    assert layer.weight.tolist() == [[1, 1, -1, 1, -1, 1]]


@pytest.mark.parametrize("shape", [(4, 6), (4, 3, 5), (4, 3, 5, 5)])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_scale_is_the_least_squares_one(shape, axis):
    real = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    scales = Sign(scale=True, axis=axis).scales(real).flatten()
    for c, scale in enumerate(scales):
        w = real.select(axis, c)
        best = (w * w.sign()).sum() / w.numel()  # argmin_a |w - a sign(w)|^2
        assert scale == pytest.approx(float(best), rel=2**-11)
        assert scale == float(scale.half())


def test_the_gradient_passes_inside_and_stops_outside():
    layer = encoded_linear(torch.tensor([[-1.0, -0.999, 0.0, 0.5, 1.0]], dtype=torch.float64)).eval()
    with torch.no_grad():
        layer.parametrizations.weight.original[0, 0] = -1.001
        layer.parametrizations.weight.original[0, 3] = 1.5
    (layer.weight * torch.tensor([[1.0, 2, 3, 4, 5]])).sum().backward()
    assert layer.parametrizations.weight.original.grad.tolist() == [[0, 2, 3, 0, 5]]


def test_with_a_scale_the_gradient_is_straight_through_plus_that_of_the_scale():
    generator = torch.Generator().manual_seed(1)
    real = torch.rand(3, 7, dtype=torch.float64, generator=generator) * 1.8 - 0.9
    upstream = torch.randn(3, 7, dtype=torch.float64, generator=generator)
    layer = encoded_linear(real, scale=True).eval()
    (layer.weight * upstream).sum().backward()
    sign, n = real.sign(), real.shape[1]
    scale = real.abs().mean(1, keepdim=True).half().double()
    expected = scale * upstream + sign / n * (upstream * sign).sum(1, keepdim=True)
    torch.testing.assert_close(layer.parametrizations.weight.original.grad, expected, rtol=1e-12, atol=1e-12)


def test_training_clips_the_real_weights_and_evaluation_does_not():
    layer = encoded_linear(torch.zeros(1, 3))
    original = layer.parametrizations.weight.original
    with torch.no_grad():
        original.copy_(torch.tensor([[-2.0, 0.25, 5.0]]))
    layer.eval()
    _ = layer.weight
    assert original.tolist() == [[-2, 0.25, 5]]
    layer.train()
    with torch.no_grad():
        _ = layer.weight
    assert original.tolist() == [[-2, 0.25, 5]]
    _ = layer.weight
    assert original.tolist() == [[-1, 0.25, 1]]
    assert original.requires_grad
    assert original.is_leaf


def test_a_layer_called_twice_in_one_forward_learns():
    layer = encoded_linear(torch.randn(4, 4), scale=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=10.0)
    for _ in range(3):
        layer(layer(torch.randn(5, 4))).square().sum().backward()  # the second call clips after the first was recorded
        optimizer.step()
    layer.weight.sum().backward()
    assert layer.parametrizations.weight.original.abs().max() <= 1


@pytest.mark.parametrize("scale", [False, True])
def test_draws_have_the_clipped_weight_as_their_mean(scale):
    real = torch.tensor([[-1.0, -0.5, -0.1, 0.0, 0.3, 1.0]])
    layer = encoded_linear(real, stochastic=True, scale=scale)
    torch.manual_seed(0)
    draws = torch.stack([layer.weight.detach() for _ in range(4000)])
    size = real.abs().mean().item() if scale else 1.0
    assert draws.abs().unique().tolist() == pytest.approx([size], rel=2**-11)
    spread = 4 * size / math.sqrt(4000)  # four standard errors
    torch.testing.assert_close(draws.mean(0), real.clamp(-size, size), rtol=0, atol=spread)
    torch.manual_seed(0)
    assert torch.equal(layer.weight, draws[0])
    layer.eval()
    assert torch.equal(layer.weight.sign(), torch.where(real >= 0, 1.0, -1.0))


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_levels_give_the_weight_bit_for_bit(scale, axis):
    real = torch.randn(6, 5, 3, 3) / 3
    encoding = Sign(scale=scale, axis=axis)
    levels = encoding.levels(real)
    assert torch.equal(levels.weight(), encoding(real))
    assert set(levels.indices.unique().tolist()) == {0, 1}
    assert levels.table.tolist() == [[-1, 1]]
    if scale:
        assert torch.equal(levels.scale, levels.scale.half().float())


def test_is_rebuilt_from_its_options_and_baked():
    layer = encoded_linear(torch.randn(3, 8) / 4, scale=True, axis=1)
    encoding = layer.parametrizations.weight[0]
    assert type(encoding)(**encoding.options(), shape=(3, 8)).options() == encoding.options()
    assert torch.equal(bake(layer).weight, layer.weight)


def test_scales_that_float16_cannot_hold_become_the_nearest_it_can():
    assert half(torch.tensor([0.0, 1e-12, 1e9])).tolist() == [2**-24, 2**-24, 65504]
    layer = encoded_linear(torch.zeros(2, 4), scale=True)
    assert layer.weight.isfinite().all()
