"""Dense connections against the paper's own form, in which a layer takes the list of all maps before it."""

from collections import OrderedDict

import pytest
import torch
from torch import fx, nn

from danlu.edits.blueprint import build, describe
from danlu.errors import UsageError
from danlu.nn import DenseConnection, LastChannels


def test_a_stack_is_the_concatenation_of_everything_before() -> None:
    torch.manual_seed(0)
    steps = [nn.Sequential(nn.Conv2d(3 + 2 * i, 2, 3, padding=1), nn.Tanh()) for i in range(4)]
    x = torch.randn(2, 3, 5, 6)
    maps = [x]
    for step in steps:
        maps.append(step(torch.cat(maps, 1)))
    stack = nn.Sequential(*(DenseConnection(*step) for step in steps))
    assert torch.equal(stack(x), torch.cat(maps, 1))


def test_named_children_and_tracing() -> None:
    layer = DenseConnection(OrderedDict(norm=nn.BatchNorm2d(3), relu=nn.ReLU(inplace=True), conv=nn.Conv2d(3, 4, 1))).eval()
    assert [name for name, _ in layer.named_children()] == ["norm", "relu", "conv"]
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(fx.symbolic_trace(layer)(x), layer(x))
    assert torch.equal(layer(x)[:, :3], x)


def test_the_last_channels_are_what_the_step_before_computed() -> None:
    x = torch.randn(2, 3, 4, 4)
    step = nn.Conv2d(3, 5, 1)
    y = DenseConnection(step)(x)
    last = LastChannels(5)
    assert torch.equal(last(y), step(x))
    assert torch.equal(fx.symbolic_trace(last)(y), step(x))
    assert torch.equal(LastChannels(8)(y), y)
    assert repr(build(describe(last))) == "LastChannels(5)"
    with pytest.raises(UsageError, match="at least 1 channel"):
        LastChannels(0)
