"""The pair of branches: its sum by hand, on even and odd maps."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from danlu.nn import BigLittle


@pytest.mark.parametrize("side", [8, 7])
def test_the_big_branch_is_repeated_over_the_map_of_the_little_one(side):
    torch.manual_seed(0)
    big, little = nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(2, 3, 1)
    layer = BigLittle(OrderedDict(big=big, little=little))
    x = torch.randn(2, 2, side, side)
    expected = little(x)
    coarse = big(x)
    for i in range(side):
        for j in range(side):
            expected[:, :, i, j] += coarse[:, :, i // 2, j // 2]
    torch.testing.assert_close(layer(x), expected)
    assert sorted(layer.state_dict()) == ["big.bias", "big.weight", "little.bias", "little.weight"]
