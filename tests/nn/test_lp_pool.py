"""Lp pooling between the mean and the maximum, and against torch's sum form where that is right."""

import itertools

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.nn import LpPool2d


def test_one_is_the_mean_of_the_sizes_and_a_large_power_the_maximum() -> None:
    x = torch.randn(2, 3, 8, 9, dtype=torch.float64)
    torch.testing.assert_close(LpPool2d(3, 2, 1, p=1)(x), nn.AvgPool2d(3, 2, 1, count_include_pad=False)(x.abs()))
    torch.testing.assert_close(LpPool2d(2, p=200)(x), nn.MaxPool2d(2)(x.abs()), rtol=0.01, atol=0)


@pytest.mark.parametrize("p", [1, 2, 3, 4.5])
def test_torch_s_layer_is_the_sum_form(p: float) -> None:
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(LpPool2d(3, 2, p=p)(x) * 9 ** (1 / p), nn.LPPool2d(p, 3, 2)(x))


def test_the_power_mean_inequality() -> None:
    x = torch.randn(1, 2, 9, 9)
    pooled = [LpPool2d(3, 3, p=p)(x) for p in (1.0, 1.5, 2.0, 4.0)]
    assert all((a <= b + 1e-6).all() for a, b in itertools.pairwise(pooled))


def test_scale_goes_through_and_sign_does_not() -> None:
    x = torch.randn(1, 2, 6, 6)
    pool = LpPool2d(2, p=3)
    torch.testing.assert_close(pool(-5 * x), 5 * pool(x))


@pytest.mark.parametrize("p", [0.5, 0, -1, float("nan")])
def test_refuses_what_is_no_norm(p: float) -> None:
    with pytest.raises(UsageError, match="p of at least 1"):
        LpPool2d(2, p=p)
