"""Codebooks: the table that is looked up, gradients that sum per centroid, zeros that stay zero, symbols."""

import pytest
import torch
from torch import nn

from danlu.encodings import Codebook, MovingCodebook, encode
from danlu.encodings.moving import cheapest


def shared(zero: bool = False, groups: int = 1) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(groups, 4, generator=generator).half().float()
    indices = torch.randint(4, (6, 10), generator=generator)
    net = nn.Linear(10, 6)
    encode(net, "weight", Codebook.of(table, indices, zero=zero))
    return net, table, indices


@pytest.mark.parametrize("groups", [1, 6])
def test_weights_are_looked_up(groups: int) -> None:
    net, table, indices = shared(groups=groups)
    rows = table.expand(6, 4)
    expected = torch.stack([rows[c][indices[c]] for c in range(6)])
    assert torch.equal(net.weight, expected)


def test_the_gradient_of_a_centroid_is_the_sum_over_its_weights() -> None:
    net, _, indices = shared()
    x = torch.randn(3, 10)
    net(x).sum().backward()
    each = x.sum(0).expand(6, 10)  # d sum(Wx) / dW
    expected = torch.stack([each[indices == k].sum() for k in range(4)])
    torch.testing.assert_close(net.parametrizations.weight.original.grad, expected)


def test_the_gradient_per_channel() -> None:
    net, _, indices = shared(groups=6)
    x = torch.randn(3, 10)
    net(x).sum().backward()
    each = x.sum(0).expand(6, 10)
    expected = torch.stack([each[c][indices[c] == k].sum() for c in range(6) for k in range(4)])
    torch.testing.assert_close(net.parametrizations.weight.original.grad, expected)


def test_zero_is_never_trained() -> None:
    net, _, indices = shared(zero=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(3):
        net(torch.randn(3, 10)).square().sum().backward()
        optimizer.step()
    assert (net.weight[indices == 0] == 0).all()
    assert (net.weight[indices != 0] != 0).any()


def test_trained_centroids_fit_two_bytes() -> None:
    net, _, _ = shared()
    with torch.no_grad():
        net.parametrizations.weight.original += 0.1234567
    assert torch.equal(net.weight.half().float(), net.weight)


@pytest.mark.parametrize("zero", [False, True])
def test_symbols_give_the_weight(zero: bool) -> None:
    net, _, indices = shared(zero=zero, groups=6)
    levels = net.parametrizations.weight[0].levels(net.parametrizations.weight.original)
    assert torch.equal(levels.weight(), net.weight)
    assert torch.equal(levels.indices, indices)
    assert levels.zero == (0 if zero else None)


def test_a_moving_weight_takes_the_nearest_centroid_and_its_gradient_goes_straight_through() -> None:
    table = torch.tensor([[-1.0, 0.0, 1.0]])
    net = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.9, -0.8, 0.1, 0.4], [0.6, -0.2, -0.7, 2.0]]))
    real = net.weight.detach().clone()
    encode(net, "weight", MovingCodebook.of(table, torch.zeros(2, 4, dtype=torch.long), zero=False, rate=0.0, held=False))
    x = torch.randn(3, 4)
    net.train()(x).sum().backward()
    nearest = table[0][(real[..., None] - table[0]).abs().argmin(-1)]
    torch.testing.assert_close(net.weight, nearest)
    torch.testing.assert_close(net.parametrizations.weight.original.grad, x.sum(0).expand(2, 4))
    expected = torch.stack([x.sum(0).expand(2, 4)[nearest == c].sum() for c in (-1, 0, 1)])
    torch.testing.assert_close(net.parametrizations.weight[0].table.grad, expected)


def test_a_rate_prefers_the_common_value() -> None:
    table = torch.tensor([[0.0, 1.0]])
    weights = torch.full((1, 100), 0.55)
    old = torch.zeros(1, 100, dtype=torch.long)
    old[0, :5] = 1
    assert (cheapest(weights, old, table, 0.0) == 1).all()
    assert (cheapest(weights, old, table, 0.2) == 0).all()


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3])
def test_assignment_minimises_its_cost(rate: float) -> None:
    generator = torch.Generator().manual_seed(3)
    weights, table = torch.randn(2, 50, generator=generator), torch.randn(2, 5, generator=generator)
    old = torch.randint(5, (2, 50), generator=generator)
    counts = torch.bincount(old.flatten(), minlength=5) + 0.5
    cost = (weights[..., None] - table[:, None]).square() / weights.square().mean() - rate * (counts / counts.sum()).log2()
    assert torch.equal(cheapest(weights, old, table, rate), cost.argmin(-1))


def test_held_zeros_stay_while_the_others_may_join_them() -> None:
    indices = torch.tensor([[0, 1, 2, 2]])
    net = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0, 1.0, -1.0, -0.01]]))
    encode(net, "weight", MovingCodebook.of(torch.tensor([[0.0, 1.0, -1.0]]), indices, zero=True, rate=0.01, held=True))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    net.train()(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert net.weight[0].tolist() == [0.0, 1.0, -1.0, 0.0]
    assert net.parametrizations.weight.original.grad[0, 0] == 0


def test_symbols_of_a_vector() -> None:
    net = nn.Linear(3, 6)
    table, indices = torch.tensor([[0.5, -1.0]]), torch.tensor([0, 1, 1, 0, 0, 1])
    encode(net, "bias", Codebook.of(table, indices, zero=False))
    levels = net.parametrizations.bias[0].levels(net.parametrizations.bias.original)
    assert levels.weight().tolist() == net.bias.tolist() == [0.5, -1.0, -1.0, 0.5, 0.5, -1.0]
