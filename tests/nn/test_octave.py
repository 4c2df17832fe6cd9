"""The octave convolution against plain ones: the formula written out by reshaping, smooth maps, chains, the published savings."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from danlu.deploy.quiet import quiet_export
from danlu.errors import UsageError
from danlu.nn import OctaveConv2d, OctaveEach


def cells(x: Tensor, side: int) -> Tensor:
    """Means of `side` x `side` cells of an even map, by reshaping."""
    b, c, h, w = x.shape
    return x.reshape(b, c, h // side, side, w // side, side).mean((3, 5))


def repeated(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def pair(high: int, low: int, side: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    make = {"generator": generator, "dtype": torch.float64}
    return torch.randn(2, high, side, side + 4, **make), torch.randn(2, low, side // 2, side // 2 + 2, **make)


def test_the_formula_at_stride_1():
    torch.manual_seed(0)
    layer = OctaveConv2d(8, 12, 3, alpha_in=0.25, alpha_out=0.5, bias=True).double()
    high, low = pair(6, 2)
    to_high, to_low = layer((high, low))
    weights = {name: getattr(layer, name).weight for name in ("high_high", "low_high", "high_low", "low_low")}
    assert [tuple(w.shape[:2]) for w in weights.values()] == [(6, 6), (6, 2), (6, 6), (6, 2)]
    bias = layer.high_high.bias[:, None, None], layer.high_low.bias[:, None, None]
    expected = F.conv2d(high, weights["high_high"], padding=1) + repeated(F.conv2d(low, weights["low_high"], padding=1))
    torch.testing.assert_close(to_high, expected + bias[0])
    expected = F.conv2d(low, weights["low_low"], padding=1) + F.conv2d(cells(high, 2), weights["high_low"], padding=1)
    torch.testing.assert_close(to_low, expected + bias[1])


def test_the_formula_at_stride_2():
    torch.manual_seed(0)
    layer = OctaveConv2d(8, 8, 3, stride=2).double()
    high, low = pair(4, 4)
    to_high, to_low = layer((high, low))
    expected = layer.high_high(cells(high, 2)) + layer.low_high(low)
    torch.testing.assert_close(to_high, expected)
    torch.testing.assert_close(to_low, layer.low_low(cells(low, 2)) + layer.high_low(cells(high, 4)))


def test_without_low_channels_it_is_the_plain_convolution():
    layer = OctaveConv2d(5, 7, (1, 3), alpha_in=0.0, alpha_out=0.0, dilation=2)
    x = torch.randn(2, 5, 6, 9)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.high_high.weight, padding=(0, 2), dilation=2))
    assert [name for name, _ in layer.named_parameters()] == ["high_high.weight"]


def test_it_has_as_many_weights_as_the_plain_one_on_the_same_scale():
    torch.manual_seed(0)
    layer, plain = OctaveConv2d(64, 64, 3, bias=True), nn.Conv2d(64, 64, 3)
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in plain.parameters())
    for name in ("high_high", "low_high", "high_low", "low_low"):
        torch.testing.assert_close(getattr(layer, name).weight.std(), plain.weight.std(), rtol=0.03, atol=0)


def test_what_does_not_change_over_the_map_is_convolved_as_by_the_plain_one():
    torch.manual_seed(0)
    layer = OctaveConv2d(8, 8, 3, joined=True).double()
    top = torch.cat([layer.high_high.weight, layer.low_high.weight], 1)
    kernel = torch.cat([top, torch.cat([layer.high_low.weight, layer.low_low.weight], 1)])
    x = torch.randn(1, 8, 1, 1, dtype=torch.float64).expand(1, 8, 12, 12)
    inside = (..., slice(2, -2), slice(2, -2))  # the zeros around a half-size map reach further in
    torch.testing.assert_close(layer(x)[inside], F.conv2d(x, kernel, padding=1)[inside])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_chain_of_joined_layers_computes_what_a_chain_on_pairs_does(stride):
    torch.manual_seed(0)
    layers = [OctaveConv2d(4, 8, 3, alpha_in=0.0), OctaveConv2d(8, 8, 3, stride=stride), OctaveConv2d(8, 6, 3, alpha_out=0.0)]
    relu = OctaveEach(nn.ReLU(), nn.ReLU())
    x = torch.randn(2, 4, 8, 12)
    on_pairs = layers[2](relu(layers[1](relu(layers[0](x)))))
    for layer in layers:
        layer.joined = True
    torch.testing.assert_close(layers[2](layers[1](layers[0](x).relu()).relu()), on_pairs)


@pytest.mark.parametrize(("alpha", "percent"), [(0.125, 82), (0.25, 67), (0.5, 44), (0.75, 30), (0.875, 26)])
def test_the_savings_of_the_paper(alpha, percent):
    layer = OctaveConv2d(64, 64, 3, alpha_in=alpha, alpha_out=alpha, joined=True)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        layer(torch.zeros(1, 64, 16, 16))
    share = flops.get_total_flops() / 2 / (9 * 64 * 64 * 16 * 16)
    assert share == pytest.approx(1 - 0.75 * (1 - (1 - alpha) ** 2))
    assert round(100 * share) == pytest.approx(percent, abs=1)  # the paper rounds some down


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 9), (5, 8), (1, 1), (2, 3)])
def test_odd_maps_are_rounded_up(stride, shape):
    x = torch.randn(2, 6, *shape)
    high, low = OctaveConv2d(6, 8, 3, alpha_in=0.0, stride=stride)(x)
    half = [-(-side // stride) for side in shape]
    assert list(high.shape[2:]) == half
    assert list(low.shape[2:]) == [-(-side // 2) for side in half]
    assert OctaveConv2d(8, 8, 3, stride=stride, joined=True)(torch.randn(2, 8, *shape)).shape[2:] == high.shape[2:]
    again_high, again_low = OctaveConv2d(8, 8, 3)((high, low))
    assert (again_high.shape, again_low.shape) == (high.shape, low.shape)


def test_the_means_at_an_odd_edge_are_of_what_is_there():
    layer = OctaveConv2d(2, 2, 1, alpha_in=0.0)
    nn.init.ones_(layer.high_low.weight)
    x = torch.arange(9.0).reshape(1, 1, 3, 3).expand(1, 2, 3, 3)
    assert layer(x)[1].tolist() == [[[[2 * 2.0, 2 * 3.5], [2 * 6.5, 2 * 8.0]]]]


def test_gradients_in_float64():
    layer = OctaveConv2d(4, 4, 3, joined=True).double()
    x = torch.randn(1, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


def test_fx_follows_it_and_onnxruntime_gives_the_same(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(OctaveConv2d(4, 8, 3, alpha_in=0.0), OctaveConv2d(8, 8, 3, stride=2), OctaveEach(nn.ReLU(), nn.ReLU()))
    net.append(OctaveConv2d(8, 6, 3, alpha_out=0.0)).append(OctaveConv2d(6, 6, 3, joined=True)).eval()
    x = torch.randn(3, 4, 10, 14)
    torch.testing.assert_close(fx.symbolic_trace(net)(x), net(x))
    with quiet_export():
        batch = ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(net, (x[:2],), dynamo=True, verbose=False, input_names=["input"], dynamic_shapes=batch)
        program.save(tmp_path / "octave.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "octave.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], net(x).detach(), atol=1e-5)


@pytest.mark.parametrize("options", [{"alpha_in": 1.0}, {"alpha_out": -0.1}, {"alpha_in": True}, {"alpha_out": 0.1}])
def test_a_bad_share_is_refused(options):
    with pytest.raises(UsageError, match="alpha"):
        OctaveConv2d(4, 4, 3, **options)


def test_kernels_and_strides_that_lose_the_size_are_refused():
    with pytest.raises(UsageError, match="odd"):
        OctaveConv2d(4, 4, (3, 2))
    with pytest.raises(UsageError, match="stride"):
        OctaveConv2d(4, 4, 3, stride=3)
