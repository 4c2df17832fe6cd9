"""The deformable convolution against loops over pixels, against plain convolutions, and through torch.fx and onnxruntime."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from danlu.deploy.quiet import quiet_export
from danlu.errors import UsageError
from danlu.nn import DeformableConv2d

CASES = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": 2, "dilation": 2, "groups": 2, "bias": False},
    {"kernel_size": (1, 3), "stride": (2, 1), "padding": (0, 1)},
    {"kernel_size": 2, "padding": 1, "stride": 3},
]


def bilinear(x: Tensor, row: float, column: float) -> Tensor:
    """All channels of one image at one place. Shape: [C, H, W] -> [C]."""
    total = torch.zeros(len(x), dtype=x.dtype)
    top, left = math.floor(row), math.floor(column)
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]:
                total += (1 - abs(row - i)) * (1 - abs(column - j)) * x[:, i, j]
    return total


def by_loops(layer: DeformableConv2d, x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """One group: y[o, i, j] = sum_k W[o, :, k] . x(place of k) m_k, pixel by pixel."""
    moves = layer.offset(x)
    points = kernel[0] * kernel[1]
    weight = layer.mix.weight.view(layer.out_channels, layer.in_channels, points)
    (down, across), (above, left), (gap, gap_across) = layer.offset.stride, layer.offset.padding, layer.offset.dilation
    y = torch.zeros(len(x), layer.out_channels, *moves.shape[2:], dtype=x.dtype)
    for b in range(len(x)):
        for i in range(moves.shape[2]):
            for j in range(moves.shape[3]):
                for k in range(points):
                    row = i * down - above + k // kernel[1] * gap + moves[b, 2 * k, i, j].item()
                    column = j * across - left + k % kernel[1] * gap_across + moves[b, 2 * k + 1, i, j].item()
                    strength = 2 * moves[b, 2 * points + k, i, j].sigmoid() if layer.modulated else 1
                    y[b, :, i, j] += weight[:, :, k] @ bilinear(x[b], row, column) * strength
    return y if layer.mix.bias is None else y + layer.mix.bias[:, None, None]


def bent(layer: DeformableConv2d, size: float = 0.3) -> DeformableConv2d:
    """With offsets of about two pixels, and none on the grid."""
    for parameter in layer.offset.parameters():
        nn.init.normal_(parameter, std=size)
    return layer.double()


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("options", [case for case in CASES if "groups" not in case])
def test_loops_over_pixels(options, modulated):
    torch.manual_seed(0)
    layer = bent(DeformableConv2d(3, 4, **{"kernel_size": 3, **options}, modulated=modulated))
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    kernel = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
    with torch.no_grad():
        assert layer.offset(x).abs().max() > 1.5
        torch.testing.assert_close(layer(x), by_loops(layer, x, kernel))


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("options", CASES)
def test_it_starts_as_the_plain_convolution(options, modulated):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, **{"kernel_size": 3, **options})
    conv.weight.requires_grad_(False)
    layer = DeformableConv2d.like(conv, modulated=modulated)
    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-5, atol=1e-5)
    assert not layer.mix.weight.requires_grad
    assert sum(p.numel() for p in layer.mix.parameters()) == sum(p.numel() for p in conv.parameters())


def test_whole_offsets_move_the_kernel():
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, padding=1)
    layer = DeformableConv2d.like(conv)
    layer.offset.bias.data[0::2], layer.offset.bias.data[1::2] = 1.0, -2.0  # a row down, two columns to the left
    x = torch.randn(1, 2, 6, 7)
    wide = F.conv2d(x, conv.weight, conv.bias, padding=4)
    torch.testing.assert_close(layer(x), wide[:, :, 4:10, 1:8])


def test_far_away_there_is_nothing():
    layer = DeformableConv2d(2, 3, bias=False)
    nn.init.constant_(layer.offset.bias, 100.0)
    assert layer(torch.randn(1, 2, 5, 5)).abs().max() == 0


def test_gradients_in_float64():
    torch.manual_seed(0)
    layer = bent(DeformableConv2d(2, 2, padding=1, modulated=True), 0.1)
    nn.init.uniform_(layer.offset.bias, 0.3, 0.7)  # between the grid points, where it is smooth
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    layer(x).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_the_offsets_learn_from_the_start():
    layer = DeformableConv2d(2, 3, padding=1)
    layer(torch.randn(2, 2, 5, 5)).square().sum().backward()
    assert layer.offset.weight.grad.abs().sum() > 0


def test_fx_follows_it_and_onnxruntime_gives_the_same(tmp_path):
    torch.manual_seed(0)
    layer = bent(DeformableConv2d(3, 4, 3, stride=2, padding=1, modulated=True)).float().eval()
    x = torch.randn(3, 3, 9, 12)
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))
    with quiet_export():
        batch = ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(layer, (x[:2],), dynamo=True, verbose=False, input_names=["input"], dynamic_shapes=batch)
        program.save(tmp_path / "deformable.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "deformable.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], layer(x).detach(), atol=1e-4)


def test_one_stride_for_the_offsets_and_the_samples():
    layer = DeformableConv2d(2, 3, 3, stride=2, padding=1)
    assert layer.stride == (2, 2)
    layer.stride = 1
    assert layer(torch.zeros(1, 2, 6, 7)).shape == (1, 3, 6, 7)
    layer.offset = nn.Sequential(layer.offset)
    assert layer.stride == (1, 1)
    assert layer(torch.zeros(1, 2, 6, 7)).shape == (1, 3, 6, 7)


def test_bad_counts_are_refused():
    for options in ({"groups": 3}, {"kernel_size": 0}, {"groups": 0}):
        with pytest.raises(UsageError, match="DeformableConv2d"):
            DeformableConv2d(4, 6, **options)
