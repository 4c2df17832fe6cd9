"""swap_pool: the maps keep their sizes, each kind computes what it says, and what stays says why."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.edits import edit
from danlu.edits.swap_pool import To, swap_pool
from danlu.errors import UsageError
from danlu.nn import GatedPool2d, LpPool2d
from danlu.zoo import create

KINDS = To.__args__
# Windows at which sizes differ between rules of rounding.
POOLS = [
    nn.MaxPool2d(2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True),
    nn.AvgPool2d((3, 2), (2, 1), (1, 0)), nn.LPPool2d(2, 2), nn.MaxPool2d(2, 2, 1, ceil_mode=True), LpPool2d(3, 2),
]  # fmt: skip


def shapes(net: nn.Module, x: torch.Tensor) -> list[torch.Size]:
    found = []
    for layer in net:
        x = layer(x)
        found.append(x.shape)
    return found


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("size", [(31, 33), (32, 40)])
def test_every_map_keeps_its_size(to: str, size: tuple[int, int]) -> None:
    for pool in POOLS:
        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), pool, nn.Conv2d(4, 5, 1))
        outcome = swap_pool(net, to=to)
        assert [change.name for change in outcome.changed] == ["1"] or dict(outcome.kept)["1"] == f"it is {to} already"
        x = torch.randn(2, 3, *size)
        assert shapes(outcome.model, x) == shapes(net, x), pool
        assert all(torch.equal(a.weight, b.weight) for a, b in zip(outcome.model[::2], net[::2], strict=True))


def test_there_and_back() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(3, 2, 1, ceil_mode=True))
    for to in KINDS:
        if to != "conv":
            assert repr(edit(net, f"swap_pool(to={to!r}) | swap_pool(to='max')").model[1]) == repr(net[1])


def test_max_and_mean_compute_what_they_say() -> None:
    x = torch.randn(2, 3, 9, 9)
    net = nn.Sequential(nn.AvgPool2d(3, 2, 1))
    assert torch.equal(swap_pool(net, to="max").model(x), F.max_pool2d(x, 3, 2, 1))
    mean = swap_pool(nn.Sequential(nn.MaxPool2d(3, 2, 1)), to="mean").model(torch.ones_like(x))
    torch.testing.assert_close(mean, torch.ones_like(mean))  # the padding does not count


def test_conv_learns_and_follows_the_net_in_its_norms() -> None:
    plain = swap_pool(create("vgg11(width=0.125)", seed=0), to="conv").model.features
    assert [type(layer) for layer in plain[2]] == [nn.Conv2d, nn.ReLU]
    assert plain[2][0].bias is not None
    normed = swap_pool(create("vgg11_bn(width=0.125)", seed=0), to="conv").model.features
    assert [type(layer) for layer in normed[3]] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert normed[3][0].bias is None
    # He's scale: what goes in with a mean square of 1 comes out of convolution and ReLU with one of about 1.
    torch.manual_seed(0)
    layer = swap_pool(nn.Sequential(nn.Conv2d(3, 64, 1), nn.MaxPool2d(2)), to="conv").model[1]
    y = layer(torch.randn(8, 64, 16, 16))
    assert 0.5 < y.square().mean() < 2


def test_a_convolution_without_its_stride_gives_all_that_it_gave_before() -> None:
    # A max pool over what the strided convolution sampled, and over its neighbours, is never below it.
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 6, 5, stride=2, padding=2)
    net = swap_pool(nn.Sequential(nn.Identity(), conv), to="max", strided=True).model
    for size in (16, 17):
        x = torch.randn(2, 3, size, size)
        assert net(x).shape == conv(x).shape
        torch.testing.assert_close(net[1][0](x)[:, :, ::2, ::2], conv(x))
        assert (net(x) >= conv(x) - 1e-5).all()


def test_a_1x1_convolution_gets_the_pool_in_front() -> None:
    net = create("resnet18(width=0.125)", seed=0)
    outcome = swap_pool(net, to="mean", strided=True)
    shortcut = outcome.model.layer2[0].downsample[0]
    assert [type(layer) for layer in shortcut] == [nn.AvgPool2d, nn.Conv2d]
    x = torch.randn(1, 8, 7, 7)
    expected = F.conv2d(F.avg_pool2d(x, 2, ceil_mode=True), net.layer2[0].downsample[0].weight)
    torch.testing.assert_close(shortcut(x), expected)
    # linear, so pooling what the dense convolution gives is the same thing, four times as dear
    dense = F.avg_pool2d(F.conv2d(x, net.layer2[0].downsample[0].weight), 2, ceil_mode=True)
    torch.testing.assert_close(shortcut(x), dense, rtol=1e-4, atol=1e-5)


def test_reasons_to_keep() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(7), nn.AdaptiveAvgPool2d(1),
        nn.MaxPool2d(2, dilation=2), nn.MaxPool2d(2, return_indices=True), nn.AvgPool2d(2, divisor_override=3), nn.Conv2d(4, 4, 3)
    )  # fmt: skip
    kept = dict(swap_pool(net, to="max", strided=True, skip=["2"]).kept)
    assert kept == {
        "0": "without its stride it would give a map of another size than its input's",
        "1": "it is max already",
        "2": "named in skip",
        "3": "a pool over so many pixels stands for a global one",
        "4": "a global pool: it gives the map the size that the classifier takes",
        "5": "the pixels of its windows lie apart",
        "6": "it gives indices too",
        "7": "it divides by a number of its own",
    }
    kept = dict(swap_pool(nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.MaxPool2d(3, 1, 1)), to="conv", strided=True).kept)
    assert kept == {"0": "it is a convolution with a stride already", "1": "it does not make the map smaller"}


class Called(nn.Module):
    """A pool as a function, and one pool for maps of different channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.pool = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(self.pool(self.conv2(self.pool(self.conv1(x)))), 2)


def test_pools_called_as_functions_or_on_several_widths() -> None:
    outcome = swap_pool(Called(), to="conv")
    assert not outcome.changed
    assert dict(outcome.kept) == {
        "pool": "it pools maps of different channels",
        "": "max_pool2d is called as a function in its forward; write it as a module to swap it",
    }
    one_for_all = swap_pool(Called(), to="gated")
    assert not one_for_all.changed
    assert isinstance(swap_pool(Called(), to="lp").model.pool, LpPool2d)


def test_the_pools_inside_other_layers_are_theirs() -> None:
    net = edit(create("resnet20(width=0.25)", num_classes=10), "add_exits").model
    assert not [reason for _, reason in swap_pool(net, to="mean").kept if "max_pool2d" in reason]


def test_a_gate_that_goes_is_paid_back() -> None:
    net = edit(nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2)), "swap_pool(to='gated')").model
    assert isinstance(net[1], GatedPool2d)
    (change,) = swap_pool(net, to="mean").changed
    assert (change.price.params, change.price.output) == (-4, -16)


def test_usage() -> None:
    with pytest.raises(UsageError, match="unknown pool 'maximum'"):
        swap_pool(nn.Sequential(nn.MaxPool2d(2)), to="maximum")
