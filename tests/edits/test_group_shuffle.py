"""group_shuffle: the layer that takes the place, the mean square it keeps, and which layers stay."""

import pytest
import torch
from torch import nn

from danlu.edits import edit
from danlu.edits.group_shuffle import group_shuffle
from danlu.errors import UsageError
from danlu.zoo import create


def net_of(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_a_groups_th_of_the_weights_then_a_shuffle(groups: int) -> None:
    old = nn.Conv2d(16, 24, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), padding_mode="reflect")
    new = group_shuffle(net_of(old), groups=groups).model[0]
    assert type(new).__name__ == "GroupShuffle"
    assert new.conv.weight.numel() * groups == old.weight.numel()
    assert torch.equal(new.conv.bias, old.bias)
    assert (new.conv.groups, new.shuffle.groups) == (groups, groups)
    for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode"):
        assert getattr(new.conv, name) == getattr(old, name)
    x = torch.randn(2, 16, 9, 9)
    assert new(x).shape == old(x).shape


def test_the_fresh_weights_keep_the_mean_square() -> None:
    torch.manual_seed(0)
    net = net_of(nn.Conv2d(256, 256, 3, padding=1, bias=False))
    x = torch.randn(4, 256, 12, 12)
    new = group_shuffle(net, groups=8).model[0]
    with torch.no_grad():
        assert (new(x).square().mean() / net[0](x).square().mean()).item() == pytest.approx(1, rel=0.1)


def test_every_output_of_a_resnet_still_sees_every_input_channel() -> None:
    # The groups of the second layer take channels of all groups of the first: without the shuffle an output would see 4 of 16.
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
    new = group_shuffle(net_of(*block), groups=4).model[:3].double()
    x = torch.randn(1, 16, 3, 3, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(lambda x: new(x)[0, :, 1, 1], x).abs().sum((-1, -2)).squeeze(1)
    assert slope.shape == (16, 16)
    assert (slope > 0).float().mean() > 0.9, "a ReLU may be off, but no group is out of reach"


def test_keeps_what_it_should_with_the_reason() -> None:
    net = net_of(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 10, 3), nn.Conv2d(10, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2),
        nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3),
    )  # fmt: skip
    outcome = group_shuffle(net, groups=4, skip=["7"])
    assert dict(outcome.kept) == {
        "0": "4 groups do not divide its 3 inputs",
        "1": "4 groups do not divide its 10 outputs",
        "2": "4 groups do not divide its 10 inputs",
        "3": "it is depthwise: its channels do not mix",
        "4": "its 2 groups are thin already",
        "6": "each of 4 groups would see one of its 4 inputs",
        "7": "named in skip",
    }
    assert [change.name for change in outcome.changed] == ["5"]


def test_the_classifier_of_a_net_without_linear_layers_stays() -> None:
    outcome = edit(create("squeezenet1_1(width=0.5)", num_classes=12), "group_shuffle")
    assert [reason for name, reason in outcome.kept if "classifier" in name] == [
        "it gives the answer of the net, for which all channels count"
    ]


@pytest.mark.parametrize("groups", [1, 0, -2, 2.0, True])
def test_refuses_fewer_than_two_groups(groups: int) -> None:
    with pytest.raises(UsageError, match="groups are a whole number from 2"):
        group_shuffle(net_of(nn.Conv2d(8, 8, 3)), groups=groups)
