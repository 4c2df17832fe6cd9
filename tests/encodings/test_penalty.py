"""Penalties: the weight is untouched, its gradient is that of loss + penalty, by autograd."""

import pytest
import torch
from torch import Tensor, nn

from danlu.encodings import Penalty, advance, encode


def l1(weight: Tensor) -> Tensor:
    return weight.abs().sum()


def group(weight: Tensor) -> Tensor:
    rows = weight.flatten(1).norm(dim=1).sum() * (weight.numel() / weight.shape[0]) ** 0.5
    columns = weight.transpose(0, 1).flatten(1).norm(dim=1).sum() * (weight.numel() / weight.shape[1]) ** 0.5
    return rows + columns


@pytest.mark.parametrize(("norm", "value"), [("l1", l1), ("group", group)])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_the_gradient_is_that_of_the_penalised_loss(norm: str, value: object, kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Linear(5, 3) if kind == "linear" else nn.Conv2d(4, 3, 3)
    x = torch.randn(2, 5) if kind == "linear" else torch.randn(2, 4, 6, 6)
    (net(x).square().sum() + 0.3 * value(net.weight)).backward()  # type: ignore[operator]
    expected = net.weight.grad.clone()
    net.zero_grad()
    encode(net, "weight", Penalty(norm=norm, strength=0.3))
    output = net.train()(x)
    output.square().sum().backward()
    torch.testing.assert_close(net.parametrizations.weight.original.grad, expected)


def test_a_group_of_zeros_has_no_gradient() -> None:
    net = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        net.weight[1] = 0
    encode(net, "weight", Penalty(norm="group", strength=1.0))
    (net.train()(torch.zeros(1, 4)).sum()).backward()
    gradient = net.parametrizations.weight.original.grad
    assert gradient.isfinite().all()
    assert (gradient[1] == 0).all()


def test_no_penalty_outside_training() -> None:
    net = nn.Linear(4, 3, bias=False)
    encode(net, "weight", Penalty(norm="l1", strength=1.0))
    net.eval()(torch.zeros(1, 4)).sum().backward()
    assert (net.parametrizations.weight.original.grad == 0).all()


def test_the_penalty_ends_when_its_share_is_done() -> None:
    net = nn.Linear(4, 3, bias=False)
    penalty = Penalty(norm="l1", strength=1.0, until=0.5)
    encode(net, "weight", penalty)
    for share, alive in ((0.49, True), (0.5, False), (0.0, True)):
        advance(net, share)
        net.zero_grad()
        net.train()(torch.zeros(1, 4)).sum().backward()
        assert bool((net.parametrizations.weight.original.grad != 0).all()) is alive
