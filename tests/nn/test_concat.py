"""Concat: branches by hand."""

from collections import OrderedDict

import torch
from torch import nn

from danlu.nn import Concat


def test_the_branches_lie_beside_each_other_in_order() -> None:
    left, right = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 5, 3, padding=1)
    layer = Concat(OrderedDict(a=left, b=right))
    x = torch.randn(2, 2, 4, 6)
    y = layer(x)
    assert y.shape == (2, 8, 4, 6)
    assert torch.equal(y[:, :3], left(x))
    assert torch.equal(y[:, 3:], right(x))
    assert list(layer.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"]
