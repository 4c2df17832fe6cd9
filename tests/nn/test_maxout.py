"""Maxout: a loop over units and pieces, and the activations it can be."""

import pytest
import torch
from torch import fx, nn

from danlu.errors import UsageError
from danlu.nn import Maxout


@pytest.mark.parametrize("shape", [(3, 12), (2, 12, 5), (2, 12, 4, 3)])
@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
def test_a_unit_is_the_largest_of_its_pieces(shape: tuple[int, ...], pieces: int) -> None:
    x = torch.randn(shape)
    y = Maxout(pieces)(x)
    assert y.shape == (shape[0], 12 // pieces, *shape[2:])
    for unit in range(12 // pieces):
        expected = x[:, unit * pieces]
        for piece in range(1, pieces):
            expected = torch.where(x[:, unit * pieces + piece] > expected, x[:, unit * pieces + piece], expected)
        assert torch.equal(y[:, unit], expected)


def test_relu_and_the_absolute_value_are_special_cases() -> None:
    layer, x = nn.Linear(1, 2, bias=False), torch.linspace(-2, 2, 9)[:, None]
    for second, closed in ((0.0, torch.relu), (-1.0, torch.abs)):
        layer.weight.data = torch.tensor([[1.0], [second]])
        assert torch.equal(Maxout(2)(layer(x)), closed(x))


def test_its_gradient_goes_to_the_largest_piece() -> None:
    x = torch.randn(2, 6, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Maxout(3), (x,))
    Maxout(3)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.sum() == 2 * 2 * 9
    assert (x.grad > 0).sum() == 2 * 2 * 9


def test_it_traces_and_refuses_what_it_cannot_be() -> None:
    x = torch.randn(2, 6, 4, 4)
    assert torch.equal(fx.symbolic_trace(nn.Sequential(Maxout(2)))(x), Maxout(2)(x))
    with pytest.raises(UsageError, match="at least 1 piece, got 0"):
        Maxout(0)
    with pytest.raises(RuntimeError):
        Maxout(4)(x)
