"""Detail-preserving pooling by loops over the formula, and its limits."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from danlu.nn import DetailPreservingPool2d


def by_hand(window: Tensor, alpha: float, power: float, symmetric: bool) -> float:
    mean = window.mean().item()
    weights = []
    for value in window.tolist():
        detail = value - mean if symmetric else max(value - mean, 0.0)
        weights.append(alpha + math.sqrt(detail * detail + 0.001**2) ** power)
    return sum(w * v for w, v in zip(weights, window.tolist(), strict=True)) / sum(weights)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("padding", "ceil"), [(0, False), (1, True)])
def test_the_formula_one_window_at_a_time(symmetric: bool, padding: int, ceil: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    pool = DetailPreservingPool2d(3, 3, 2, padding, ceil, symmetric).double()
    nn.init.normal_(pool.alpha)
    nn.init.normal_(pool.power)
    y = pool(x)
    for b, c, i, j in itertools.product(range(2), range(3), range(y.shape[2]), range(y.shape[3])):
        top, left = 2 * i - padding, 2 * j - padding
        window = x[b, c, max(top, 0) : top + 3, max(left, 0) : left + 3].flatten()
        alpha, power = (math.log1p(math.exp(p[c].item())) for p in (pool.alpha, pool.power))
        assert math.isclose(y[b, c, i, j].item(), by_hand(window, alpha, power, symmetric), rel_tol=1e-9)


def test_without_power_it_is_the_mean_with_a_large_one_the_maximum() -> None:
    x = 100 * torch.rand(1, 2, 8, 8, dtype=torch.float64)
    pool = DetailPreservingPool2d(2, 2).double()
    with torch.no_grad():
        pool.power.fill_(-80)
        torch.testing.assert_close(pool(x), nn.AvgPool2d(2)(x))
        pool.power.fill_(60)
        torch.testing.assert_close(pool(x), nn.MaxPool2d(2)(x), rtol=0.02, atol=0.0)


def test_asymmetric_prefers_bright_pixels_symmetric_treats_both_alike() -> None:
    x = torch.tensor([[0.0, 4.0], [2.0, 2.0]])[None, None]
    assert DetailPreservingPool2d(1, 2)(x).item() > 2.01
    assert abs(DetailPreservingPool2d(1, 2, symmetric=True)(x).item() - 2) < 1e-6
