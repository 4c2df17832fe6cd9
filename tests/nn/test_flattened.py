"""The flattened convolution against the dense one whose filters are products of its three steps."""

import pytest
import torch
from torch import fx
from torch.nn import functional as F

from danlu.edits.blueprint import arguments
from danlu.nn import FlattenedConv2d


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 5, "stride": 2, "padding": 2},
        {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_is_a_dense_convolution_with_filters_of_rank_one(options):
    torch.manual_seed(0)
    layer = FlattenedConv2d(4, 6, bias=False, **options).double()
    x = torch.randn(2, 4, 11, 12, dtype=torch.float64)
    lateral, vertical, horizontal = (step.weight for step in layer)
    kernel = torch.einsum("oc,oy,ox->ocyx", lateral[:, :, 0, 0], vertical[:, 0, :, 0], horizontal[:, 0, 0, :])
    dense = torch.nn.Conv2d(4, 6, bias=False, **options).double()
    dense.weight.data = kernel
    torch.testing.assert_close(layer(x), dense(x))
    for matrix in kernel.flatten(1).view(6, 4, -1):  # unfolded along the channels, every filter has rank one
        assert torch.linalg.matrix_rank(matrix) == 1


def test_every_step_has_a_bias_as_published():
    layer = FlattenedConv2d(3, 8, 5, padding=2).double()
    x = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    lateral, vertical, horizontal = layer
    y = F.conv2d(x, lateral.weight, lateral.bias)
    y = F.conv2d(y, vertical.weight, vertical.bias, padding=(2, 0), groups=8)
    y = F.conv2d(y, horizontal.weight, horizontal.bias, padding=(0, 2), groups=8)
    torch.testing.assert_close(layer(x), y)
    assert sum(p.numel() for p in layer.parameters()) == 8 * (3 + 5 + 5) + 3 * 8


def test_keeps_its_arguments_and_is_traced():
    layer = FlattenedConv2d(3, 8, 3, stride=2, padding=1)
    assert str(FlattenedConv2d(**arguments(layer))) == str(layer)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))
