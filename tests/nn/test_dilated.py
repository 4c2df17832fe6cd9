"""Dilated convolution against a dense one with zeros in its holes, and by plain loops."""

import pytest
import torch
from torch.nn import functional as F

from danlu.edits.blueprint import arguments
from danlu.errors import UsageError
from danlu.nn import AtrousPyramid, DilatedConv2d


def with_holes(kernel, dilation):
    """The dense kernel: zeros between the taps."""
    out, into, high, wide = kernel.shape
    dense = kernel.new_zeros(out, into, dilation * (high - 1) + 1, dilation * (wide - 1) + 1)
    dense[:, :, ::dilation, ::dilation] = kernel
    return dense


@pytest.mark.parametrize(("kernel", "dilation", "stride"), [(3, 2, 1), (3, 5, 1), (5, 3, 2), (1, 4, 1)])
def test_is_a_dense_convolution_with_holes(kernel, dilation, stride):
    torch.manual_seed(0)
    layer = DilatedConv2d(3, 4, kernel, dilation=dilation, stride=stride).double()
    x = torch.randn(2, 3, 13, 10, dtype=torch.float64)
    dense = with_holes(layer.weight, dilation)
    y = F.conv2d(x, dense, layer.bias, stride=stride, padding=dense.shape[-1] // 2)
    torch.testing.assert_close(layer(x), y)
    assert y.shape[2:] == (-(-13 // stride), -(-10 // stride)), "the map keeps its size"


def test_by_plain_loops():
    torch.manual_seed(0)
    layer = DilatedConv2d(1, 1, dilation=2, bias=False).double()
    x = torch.randn(1, 1, 7, 6, dtype=torch.float64)
    y = torch.zeros_like(x)
    for i in range(7):
        for j in range(6):
            for u in range(3):
                for v in range(3):
                    row, column = i + 2 * (u - 1), j + 2 * (v - 1)
                    if 0 <= row < 7 and 0 <= column < 6:
                        y[0, 0, i, j] += layer.weight[0, 0, u, v].detach() * x[0, 0, row, column]
    torch.testing.assert_close(layer(x).detach(), y)


def test_the_pyramid_sees_every_rate():
    torch.manual_seed(0)
    layer = AtrousPyramid(3, 2, rates=(1, 4)).double()
    x = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    y = layer(x)
    assert y.shape == (1, 4, 9, 9)
    for i, rate in enumerate((1, 4)):
        part = F.conv2d(x, with_holes(layer[i].weight, rate), layer[i].bias, padding=rate)
        torch.testing.assert_close(y[:, 2 * i : 2 * i + 2], part)


def test_an_even_kernel_is_refused():
    with pytest.raises(UsageError, match="takes an odd kernel, got 4"):
        DilatedConv2d(3, 4, 4)


@pytest.mark.parametrize("layer", [DilatedConv2d(3, 4, 5, dilation=3, stride=2), AtrousPyramid(3, 4, rates=(2, 3))])
def test_keeps_its_arguments(layer):
    assert str(type(layer)(**arguments(layer))) == str(layer)
