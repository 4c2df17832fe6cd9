"""Masks: which weights go, that they stay zero through training, the cubic schedule, 2:4."""

import copy

import pytest
import torch
from torch import nn

from danlu.encodings import Mask, advance, bake, decode, encode, finish, settled
from danlu.encodings.mask import largest
from danlu.errors import UsageError


def layer(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(16, 8)


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.999])
def test_the_largest_magnitudes_stay(sparsity: float) -> None:
    weight = torch.randn(10, 20, generator=torch.Generator().manual_seed(1))
    mask = largest(weight, sparsity)
    assert mask.sum() == round(200 * (1 - sparsity))
    if mask.any() and not mask.all():
        assert weight.abs()[mask].min() > weight.abs()[~mask].max()


def test_two_of_four_inputs_stay() -> None:
    weight = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.1, 0.2, -0.3, 0.0]])
    assert largest(weight, 0.5, "2:4").tolist() == [[False, True, True, False, False, True, True, False]]
    conv = torch.randn(3, 8, 5, 5, generator=torch.Generator().manual_seed(2))
    fours = largest(conv, 0.5, "2:4").permute(0, 2, 3, 1).reshape(-1, 4)
    assert (fours.sum(1) == 2).all()


def test_masked_weights_stay_zero_and_the_others_train() -> None:
    net = layer()
    encode(net, "weight", Mask(sparsity=0.75, shape=(8, 16)))
    zeros = net.weight == 0
    before = net.weight.detach().clone()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    for _ in range(3):
        net(torch.randn(4, 16)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert zeros.sum() == 96
    assert torch.equal(net.weight == 0, zeros)
    assert (net.weight != before).sum() == 32


def test_the_schedule_is_cubic_and_settles_at_the_ramp() -> None:
    net = layer()
    mask = Mask(sparsity=0.8, ramp=0.5, shape=(8, 16))
    encode(net, "weight", mask)
    assert (net.weight != 0).all()
    for share in (0.1, 0.25, 0.4):
        advance(net, share)
        assert not settled(net)
        net.train()(torch.randn(2, 16))
        expected = 0.8 * (1 - (1 - share / 0.5) ** 3)
        assert (net.weight == 0).float().mean().item() == pytest.approx(expected, abs=0.01)
    advance(net, 0.5)
    net(torch.randn(2, 16))
    assert settled(net)
    assert (net.weight == 0).sum() == 128 - round(128 * 0.2)


def test_evaluation_never_changes_a_mask() -> None:
    net = layer()
    encode(net, "weight", Mask(sparsity=0.8, ramp=0.5, shape=(8, 16)))
    advance(net, 1.0)
    net.eval()(torch.randn(2, 16))
    assert (net.weight != 0).all()


def test_baking_before_the_end_is_an_error() -> None:
    net = layer()
    encode(net, "weight", Mask(sparsity=0.8, ramp=0.5, shape=(8, 16)))
    with pytest.raises(UsageError, match="advance"):
        bake(net)


def test_baking_leaves_the_net_and_its_copies_encoded() -> None:
    net = layer()
    encode(net, "weight", Mask(sparsity=0.5, shape=(8, 16)))
    other = copy.deepcopy(net)
    plain = bake(net)
    x = torch.randn(3, 16)
    assert torch.equal(plain(x), net(x))
    assert torch.equal(plain(x), other(x))
    assert isinstance(plain.weight, nn.Parameter)
    assert type(plain) is nn.Linear
    decode(other, "weight")
    assert torch.equal(net(x), other(x))
    assert dict(net.named_parameters()).keys() == {"bias", "parametrizations.weight.original"}


@pytest.mark.parametrize("ramp", [0.5, 1.0])
def test_finishing_ends_a_schedule_at_once(ramp: float) -> None:
    net = layer()
    encode(net, "weight", Mask(sparsity=0.8, ramp=ramp, shape=(8, 16)))
    advance(net, 1.0)
    assert not settled(net), "the mask has not followed yet"
    finish(net.eval())
    assert settled(net)
    assert (bake(net).weight == 0).sum() == 128 - round(128 * 0.2)
