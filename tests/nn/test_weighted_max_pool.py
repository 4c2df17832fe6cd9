"""Weighted max pooling: ranks by hand, its ends, and windows that lack pixels."""

import itertools
import math

import torch
from torch import nn

from danlu.nn import WeightedMaxPool2d


def test_the_pixels_count_by_their_rank() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    pool = WeightedMaxPool2d(3, 2).double()
    nn.init.normal_(pool.rank)
    y = pool(x)
    for b, c, i, j in itertools.product(range(2), range(3), range(3), range(3)):
        window = sorted(x[b, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten().tolist(), reverse=True)
        weights = [math.exp(value) for value in pool.rank[c, 0, 0].tolist()]
        expected = sum(w * v for w, v in zip(weights, window, strict=True)) / sum(weights)
        assert math.isclose(y[b, c, i, j].item(), expected)


def test_its_ends_are_the_maximum_and_the_mean() -> None:
    x = torch.randn(2, 3, 7, 7)
    pool = WeightedMaxPool2d(3, 3, 2, 1, True)
    with torch.no_grad():
        pool.rank.zero_()
        torch.testing.assert_close(pool(x), nn.AvgPool2d(3, 2, 1, True, count_include_pad=False)(x))
        pool.rank[..., 0] = 60
        torch.testing.assert_close(pool(x), nn.MaxPool2d(3, 2, 1, ceil_mode=True)(x))


def test_starts_with_a_half_on_the_largest() -> None:
    weights = WeightedMaxPool2d(1, 2).rank.softmax(-1).flatten().tolist()
    assert [round(weight, 6) for weight in weights] == [round(4 / 7, 6)] + [round(1 / 7, 6)] * 3


def test_a_window_over_the_edge_leaves_the_last_ranks_out() -> None:
    pool = WeightedMaxPool2d(1, 2, 2, 0, True)
    with torch.no_grad():
        pool.rank.copy_(torch.tensor([3.0, 2.0, 1.0, 4.0]).log())
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])[None, None]
    expected = torch.tensor([[(15 + 8 + 2 + 4) / 10, (3 * 6 + 2 * 3) / 5], [(3 * 8 + 2 * 7) / 5, 9.0]])
    torch.testing.assert_close(pool(x)[0, 0], expected)
