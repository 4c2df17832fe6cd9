"""The dual path join: its two extremes, a channel at a time, and its gradient."""

import pytest
import torch
from torch import fx

from danlu.errors import UsageError
from danlu.nn import DualPath


def test_all_residual_is_a_sum_and_none_a_concatenation() -> None:
    s, f = torch.randn(2, 6, 3, 4), torch.randn(2, 6, 3, 4)
    assert torch.equal(DualPath(6)(s, f), s + f)
    assert torch.equal(DualPath(0)(s, f), torch.cat([s, f], 1))


def test_each_channel() -> None:
    s, f = torch.randn(2, 5, 3, 4), torch.randn(2, 6, 3, 4)
    y = DualPath(4)(s, f)
    expected = [*(s[:, i] + f[:, i] for i in range(4)), s[:, 4], f[:, 4], f[:, 5]]
    assert torch.equal(y, torch.stack(expected, 1))
    assert torch.equal(fx.symbolic_trace(DualPath(4))(s, f), y)


def test_the_gradient_of_the_sum_reaches_both() -> None:
    s, f = (torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(DualPath(2), (s, f))


def test_refuses_a_negative_width() -> None:
    with pytest.raises(UsageError, match="at least 0"):
        DualPath(-1)
    assert repr(DualPath(3)) == "DualPath(3)"
