"""The depthwise separable convolution against the dense one whose kernel is the product of its two steps."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.nn import DepthwiseSeparable, layers


@pytest.mark.parametrize("stride", [1, 2])
def test_is_a_dense_convolution_with_a_factored_kernel(stride):
    torch.manual_seed(0)
    layer = DepthwiseSeparable(6, 10, stride=stride).double().eval()
    layer.relu1 = layer.relu2 = layer.bn1 = layer.bn2 = nn.Identity()
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64)
    kernel = layer.pointwise.weight * layer.depthwise.weight[:, 0]  # [10, 6, 3, 3]
    torch.testing.assert_close(layer(x), F.conv2d(x, kernel, stride=stride, padding=1))


def test_both_steps_are_normed_and_rectified():
    layer = DepthwiseSeparable(4, 8)
    kinds = [type(step).__name__ for step in layer]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 2
    assert [m.num_features for m in layer if isinstance(m, nn.BatchNorm2d)] == [4, 8]
    assert (layer(torch.randn(4, 4, 8, 8)) >= 0).all()


def test_has_the_published_count_of_weights():
    layer = DepthwiseSeparable(32, 64)
    assert sum(m.weight.numel() for m in layer if isinstance(m, nn.Conv2d)) == 9 * 32 + 32 * 64


def test_shared_layers_are_registered_with_their_paper():
    assert {"DepthwiseSeparable", "PadShortcut"} <= set(layers.names())
    assert all(entry.summary.endswith(".") and entry.facts["paper"] for entry in layers)
