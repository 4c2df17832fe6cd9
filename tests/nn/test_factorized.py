"""Factorised convolutions against dense ones with the product of their filters, and the pixels they see by counting."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from danlu.edits.blueprint import arguments
from danlu.errors import UsageError
from danlu.nn import AsymmetricConv2d, StackedConv2d


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 7, "padding": 3},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (5, 3), "stride": (2, 1), "padding": (0, 1), "dilation": (1, 2)},
    ],
    ids=str,
)
def test_a_column_and_a_row_are_a_dense_convolution_with_their_product(options):
    torch.manual_seed(0)
    layer = AsymmetricConv2d(4, 6, hidden=5, **options).double()
    x = torch.randn(2, 4, 13, 12, dtype=torch.float64)
    dense = nn.Conv2d(4, 6, **options).double()
    dense.weight.data = torch.einsum("mcy,omx->ocyx", layer.vertical.weight[..., 0], layer.horizontal.weight[:, :, 0])
    dense.bias.data = layer.horizontal.bias.data
    torch.testing.assert_close(layer(x), dense(x))
    assert layer.vertical.bias is None, "one bias says all where nothing stands between"


@pytest.mark.parametrize("kernel", [5, 7, 11])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_stack_sees_the_pixels_of_the_large_filter_and_gives_its_map(kernel, padding, stride):
    layer = StackedConv2d(1, 1, kernel, stride=stride, padding=padding, bias=False).double()
    for step in layer:
        nn.init.ones_(step.weight)  # no weight cancels another, so the gradient shows what is seen
    x = torch.ones(1, 1, 25, 28, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    dense = F.conv2d(x, torch.ones(1, 1, kernel, kernel, dtype=torch.float64), stride=stride, padding=padding)
    assert y.shape == dense.shape
    middle = (0, 0, y.shape[2] // 2, y.shape[3] // 2)
    seen, wanted = (torch.autograd.grad(out[middle], x)[0] != 0 for out in (y, dense))
    assert torch.equal(seen, wanted)


def test_two_3x3_are_a_5x5_whose_kernel_is_their_convolution():
    torch.manual_seed(0)
    layer = StackedConv2d(2, 3, 5, bias=False, hidden=4).double()
    x = torch.randn(2, 2, 9, 9, dtype=torch.float64)
    first, second = layer
    # kernel[o, c] = sum_m second[o, m] * first[m, c], full convolution: that is correlation with the flipped one.
    kernel = F.conv2d(first.weight.transpose(0, 1), second.weight.flip(2, 3), padding=2).transpose(0, 1)
    torch.testing.assert_close(layer(x), F.conv2d(x, kernel))


@pytest.mark.parametrize("kind", [AsymmetricConv2d, StackedConv2d])
def test_what_stands_between(kind):
    torch.manual_seed(0)
    kinds = {
        "none": ["Conv2d", "Conv2d"],
        "relu": ["Conv2d", "ReLU", "Conv2d"],
        "bn_relu": ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d"],
    }
    for between, wanted in kinds.items():
        assert [type(step).__name__ for step in kind(8, 16, 5, between=between)] == wanted
    layer = kind(8, 16, 5, padding=2, between="relu")
    x = torch.randn(2, 8, 7, 7)
    torch.testing.assert_close(layer(x), layer[2](layer[0](x).relu()))
    with pytest.raises(UsageError, match=r"between is one of none, relu, bn_relu, got 'gelu'"):
        kind(8, 16, 5, between="gelu")


def test_the_published_counts_of_weights():
    # Szegedy et al. 2015, 3.1 and 3.2: 28 % fewer for 5x5 as two 3x3, 33 % fewer for 3x3 as 3x1 and 1x3.
    stack, pair = StackedConv2d(64, 64, 5, bias=False), AsymmetricConv2d(64, 64, 3, bias=False)
    assert sum(p.numel() for p in stack.parameters()) == 64 * 64 * 18 == round(0.72 * 64 * 64 * 25)
    assert sum(p.numel() for p in pair.parameters()) == 64 * 64 * 6
    narrow = AsymmetricConv2d(16, 64, 7, bias=False)
    assert sum(p.numel() for p in narrow.parameters()) == 16 * 7 * (16 + 64)


@pytest.mark.parametrize("kernel", [1, 3, 4, 6])
def test_a_stack_needs_an_odd_kernel_from_5(kernel):
    with pytest.raises(UsageError, match="an odd kernel of at least 5"):
        StackedConv2d(8, 8, kernel)


@pytest.mark.parametrize("layer", [AsymmetricConv2d(8, 9, 3, stride=2, padding=1), StackedConv2d(8, 9, 7, between="relu")])
def test_keeps_its_arguments_and_is_traced(layer):
    assert str(type(layer)(**arguments(layer))) == str(layer)
    x = torch.randn(2, 8, 9, 9)
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))
