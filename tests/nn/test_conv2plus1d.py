"""(2+1)D convolution against the 3-D convolution with the product of its kernels, and its paper's count of weights."""

import pytest
import torch
from torch import fx, nn

from danlu.edits.blueprint import arguments
from danlu.nn import Conv2Plus1d


@pytest.mark.parametrize(("stride", "time_stride"), [(1, 1), (2, 1), (2, 2)])
def test_without_what_is_between_it_is_a_3d_convolution(stride, time_stride):
    torch.manual_seed(0)
    layer = Conv2Plus1d(3, 4, 3, 5, stride=stride, time_stride=time_stride, hidden=6).double()
    layer.bn = layer.relu = nn.Identity()
    x = torch.randn(2, 3, 7, 9, 8, dtype=torch.float64)
    dense = nn.Conv3d(3, 4, (5, 3, 3), stride=(time_stride, stride, stride), padding=(2, 1, 1), bias=False).double()
    dense.weight.data = torch.einsum("mcyx,omt->octyx", layer.spatial.weight[:, :, 0], layer.temporal.weight[..., 0, 0])
    torch.testing.assert_close(layer(x), dense(x))


@pytest.mark.parametrize(("into", "out"), [(64, 64), (64, 128), (3, 45)])
def test_has_the_weights_of_the_3d_convolution(into, out):
    layer = Conv2Plus1d(into, out)
    steps = layer.spatial.weight.numel() + layer.temporal.weight.numel()
    dense = 27 * into * out
    assert dense - (9 * into + 3 * out) < steps <= dense  # M is rounded down, and M + 1 would be too many


def test_the_published_channels_between():
    # torchvision's r2plus1d_18, from the authors' nets: 144 between 64 and 64, 230 between 64 and 128.
    assert Conv2Plus1d(64, 64).hidden == 144
    assert Conv2Plus1d(64, 128).hidden == 230


def test_keeps_its_arguments_and_is_traced():
    layer = Conv2Plus1d(3, 8, stride=2).eval()
    assert str(Conv2Plus1d(**arguments(layer))) == str(layer)
    x = torch.randn(1, 3, 4, 8, 8)
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))
    assert layer(x).shape == (1, 8, 4, 4, 4)
