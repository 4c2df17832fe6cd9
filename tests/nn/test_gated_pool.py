"""Gated pooling, one window at a time."""

import itertools

import torch
from torch import nn

from danlu.nn import GatedPool2d


def test_each_window_decides_by_the_sigmoid_of_its_product_with_the_gate() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    pool = GatedPool2d(2).double()
    nn.init.normal_(pool.gate)
    y = pool(x)
    for b, c, i, j in itertools.product(range(2), range(3), range(3), range(3)):
        window = x[b, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        share = 1 / (1 + (-(window * pool.gate[0, 0]).sum()).exp())
        torch.testing.assert_close(y[b, c, i, j], share * window.max() + (1 - share) * window.mean())


def test_starts_with_half_of_each_and_has_one_gate_for_all_channels() -> None:
    x = torch.randn(1, 5, 8, 8)
    pool = GatedPool2d(3, 2, 1)
    assert pool.gate.numel() == 9
    expected = (nn.MaxPool2d(3, 2, 1)(x) + nn.AvgPool2d(3, 2, 1, count_include_pad=False)(x)) / 2
    torch.testing.assert_close(pool(x), expected)
