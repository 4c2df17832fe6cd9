"""Sum: branches by hand, and a residual block of torch.nn."""

from collections import OrderedDict

import pytest
import torch
from torch import fx, nn

from danlu.edits.blueprint import build, describe
from danlu.nn import Sum


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_branches_are_added(count: int) -> None:
    torch.manual_seed(0)
    branches = [nn.Conv2d(2, 3, 1) for _ in range(count)]
    x = torch.randn(2, 2, 4, 6)
    total = torch.zeros(2, 3, 4, 6)
    for branch in branches:
        total += branch(x)
    layer = Sum(*branches)
    torch.testing.assert_close(layer(x), total)
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), total)


def test_with_an_identity_it_is_a_residual_connection_with_its_gradient() -> None:
    torch.manual_seed(0)
    layer = Sum(OrderedDict(residual=nn.Conv2d(3, 3, 3, padding=1), shortcut=nn.Identity()))
    nn.init.zeros_(layer.residual.weight)
    nn.init.zeros_(layer.residual.bias)
    x = torch.randn(1, 3, 5, 5, requires_grad=True)
    y = layer(x)
    assert torch.equal(y, x)
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x)), "the gradient goes around a branch that is nothing yet"
    assert list(layer.state_dict()) == ["residual.weight", "residual.bias"]
    assert repr(build(describe(layer))) == repr(layer)
