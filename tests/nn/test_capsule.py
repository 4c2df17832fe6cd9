"""Capsules against loops over capsules, closed forms at their ends, and finite differences."""

import math

import pytest
import torch
from torch import Tensor, fx

from danlu.errors import UsageError
from danlu.nn import PrimaryCapsules, RoutedCapsules, margin_loss, squash


def routed(u: Tensor, weight: Tensor, iterations: int) -> Tensor:
    """Procedure 1 of the paper for one image, one capsule at a time: u [N, D], weight [N, K, O, D] -> [K, O]."""
    count, classes = weight.shape[:2]
    b = [[0.0] * classes for _ in range(count)]
    for step in range(iterations):
        v = []
        for j in range(classes):
            s = torch.zeros_like(weight[0, 0, :, 0])
            for i in range(count):
                c = math.exp(b[i][j]) / sum(math.exp(value) for value in b[i])
                s = s + c * (weight[i, j] @ u[i])
            squared = (s @ s).item()
            v.append(squared / (1 + squared) * s / math.sqrt(squared))
        if step < iterations - 1:
            for i in range(count):
                for j in range(classes):
                    b[i][j] += (weight[i, j] @ u[i] @ v[j]).item()
    return torch.stack(v)


def test_squash_keeps_the_direction_and_bounds_the_length() -> None:
    s = torch.randn(50, 7, dtype=torch.double) * torch.logspace(-3, 3, 50, dtype=torch.double)[:, None]
    v = squash(s)
    squared = s.square().sum(1)
    torch.testing.assert_close(v.norm(dim=1), squared / (1 + squared), rtol=1e-3, atol=0)
    torch.testing.assert_close(torch.cosine_similarity(v, s), torch.ones(50, dtype=torch.double))
    zero = torch.zeros(2, 4, requires_grad=True)
    squash(zero).sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_routing_is_the_procedure_of_the_paper(iterations: int) -> None:
    torch.manual_seed(iterations)
    layer = RoutedCapsules(6, 4, 3, 5, iterations=iterations).double()
    layer.weight.data.mul_(4)  # votes long enough for the routing to matter
    u = torch.randn(2, 6, 4, dtype=torch.double)
    expected = torch.stack([routed(image, layer.weight.detach(), iterations) for image in u])
    torch.testing.assert_close(layer(u), expected, rtol=1e-5, atol=1e-7)


def test_more_routing_sharpens_an_agreement() -> None:
    """All votes for capsule 0 are alike, those for the others are noise: its share of the routing must grow."""
    torch.manual_seed(0)
    lengths = []
    for iterations in (1, 2, 4):
        layer = RoutedCapsules(40, 8, 5, 8, iterations=iterations)
        torch.manual_seed(1)
        torch.nn.init.normal_(layer.weight, std=0.5)
        layer.weight.data[:, 0] = torch.eye(8)
        u = squash(torch.ones(1, 40, 8))
        lengths.append(layer(u).norm(dim=2)[0, 0].item())
    assert lengths == sorted(lengths)
    assert lengths[-1] > lengths[0]


def test_the_first_sum_is_as_long_as_the_capsules_below() -> None:
    torch.manual_seed(0)
    layer = RoutedCapsules(500, 8, 10, 16, iterations=1)
    u = torch.nn.functional.normalize(torch.randn(40, 500, 8), dim=2)
    v = layer(u).norm(dim=2)
    s = v / (1 - v)  # squash undone: |s|^2
    assert s.mean().item() == pytest.approx(1, abs=0.15)


def test_primary_capsules_are_the_channels_of_one_place() -> None:
    layer = PrimaryCapsules(2, 3, 4, kernel=3, stride=2)
    x = torch.randn(2, 2, 9, 7)
    maps = layer.conv(x)
    capsules = layer(x)
    assert capsules.shape == (2, 3 * 4 * 3, 4)
    for kind in range(3):
        for row in range(4):
            for column in range(3):
                expected = squash(maps[:, 4 * kind : 4 * kind + 4, row, column])
                torch.testing.assert_close(capsules[:, (kind * 4 + row) * 3 + column], expected)


def test_gradients() -> None:
    torch.manual_seed(0)
    layer = RoutedCapsules(3, 2, 2, 3).double()
    u = torch.randn(2, 3, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u, w: torch.func.functional_call(layer, {"weight": w}, (u,)), (u, layer.weight))


def test_margin_loss_by_hand() -> None:
    lengths = torch.tensor([[0.95, 0.05, 0.3], [0.2, 0.6, 0.1]])
    first = 0.5 * (0.3 - 0.1) ** 2  # the class is long enough, one other too long
    second = (0.9 - 0.6) ** 2 + 0.5 * (0.2 - 0.1) ** 2
    assert margin_loss(lengths, torch.tensor([0, 1])).item() == pytest.approx((first + second) / 2)
    assert margin_loss(torch.eye(3), torch.arange(3)).item() == 0


def test_traces_and_says_its_arguments() -> None:
    layer, u = RoutedCapsules(6, 4, 3, 5, iterations=2), torch.randn(2, 6, 4)
    assert torch.equal(fx.symbolic_trace(layer)(u), layer(u))
    assert "6, 4, 3, 5, iterations=2" in repr(layer)
    primary, x = PrimaryCapsules(2, 3, 4, kernel=3), torch.randn(2, 2, 9, 7)
    assert torch.equal(fx.symbolic_trace(primary)(x), primary(x))
    assert "2, 3, 4, kernel=3, stride=2" in repr(primary)
    with pytest.raises(UsageError, match="counts of at least 1"):
        RoutedCapsules(6, 4, 3, 5, iterations=0)
