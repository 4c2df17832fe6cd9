"""GroupShuffle against one convolution a group and a shuffle by index arithmetic; what the shuffle is for."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.nn import GroupShuffle


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_is_a_convolution_a_group_and_a_shuffle(groups: int) -> None:
    torch.manual_seed(0)
    layer = GroupShuffle(6, 12, 3, groups=groups, stride=2, padding=1).double()
    x = torch.randn(2, 6, 7, 8, dtype=torch.float64)
    weight, bias = layer.conv.weight, layer.conv.bias
    outs, ins = 12 // groups, 6 // groups
    whole = torch.cat(
        [
            F.conv2d(x[:, g * ins : (g + 1) * ins], weight[g * outs : (g + 1) * outs], bias[g * outs : (g + 1) * outs], 2, 1)
            for g in range(groups)
        ],
        dim=1,
    )
    y = layer(x)
    for i in range(groups):
        for j in range(outs):
            torch.testing.assert_close(y[:, j * groups + i], whole[:, i * outs + j])


def seen(net: nn.Module, channels: int) -> torch.Tensor:
    """Which inputs each output depends on. Shape: [outputs, inputs], bool."""
    x = torch.randn(1, channels, 1, 1, dtype=torch.float64)
    return torch.autograd.functional.jacobian(lambda x: net(x).flatten(), x).flatten(1) != 0


def test_two_layers_see_all_channels_only_with_the_shuffle() -> None:
    torch.manual_seed(0)
    first, second = (GroupShuffle(16, 16, 1, groups=4).double() for _ in range(2))
    assert seen(nn.Sequential(first, second), 16).all()
    plain = seen(nn.Sequential(first.conv, second.conv), 16)
    assert torch.equal(plain, torch.block_diag(*[torch.ones(4, 4)] * 4) > 0)


def test_has_a_groups_th_of_the_weights() -> None:
    assert GroupShuffle(32, 64, 3, groups=4, bias=False).conv.weight.numel() == 9 * 32 * 64 // 4


@pytest.mark.parametrize(("inner", "outer", "groups"), [(6, 8, 4), (8, 6, 4), (8, 8, 0)])
def test_refuses_groups_that_do_not_divide(inner: int, outer: int, groups: int) -> None:
    with pytest.raises(UsageError, match=f"{groups} groups do not divide {inner} inputs and {outer} outputs"):
        GroupShuffle(inner, outer, 3, groups=groups)
