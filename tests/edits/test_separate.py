"""separate: what each option puts in, that the pair takes the place of the layer, and which layers stay."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.edits import edit
from danlu.edits.separate import separate
from danlu.encodings import Mask, encode
from danlu.zoo import create


def one(**options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, **{"kernel_size": 3, **options})
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4))


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({}, ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d"]),
        ({"norm": False}, ["Conv2d", "ReLU", "Conv2d"]),
        ({"activation": False}, ["Conv2d", "BatchNorm2d", "Conv2d"]),
        ({"norm": False, "activation": False}, ["Conv2d", "Conv2d"]),
    ],
)
def test_the_steps(options: dict[str, bool], kinds: list[str]) -> None:
    pair = separate(one(padding=1), **options).model[0]
    assert [type(step).__name__ for step in pair] == kinds
    assert (pair.depthwise.groups, pair.depthwise.weight.shape) == (8, (8, 1, 3, 3))
    assert (pair.pointwise.groups, pair.pointwise.weight.shape) == (1, (12, 8, 1, 1))
    assert (pair.depthwise.bias is not None) == ("ReLU" in kinds and "BatchNorm2d" not in kinds)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": 1},
        {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)},
        {"padding": "same", "kernel_size": 5},
        {"padding": 2, "padding_mode": "circular", "bias": False},
    ],
)
def test_without_anything_between_it_is_a_convolution_with_a_factored_kernel(options: dict[str, Any]) -> None:
    net = one(**options).double()
    pair = separate(net, norm=False, activation=False).model[0]
    same = copy.deepcopy(net[0])
    with torch.no_grad():
        same.weight.copy_(pair.pointwise.weight * pair.depthwise.weight[:, 0])
    x = torch.randn(2, 8, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(pair(x), same(x))
    assert (pair.pointwise.bias is None) == (net[0].bias is None)


@pytest.mark.parametrize("activation", [False, True])
def test_the_fresh_weights_keep_the_mean_square(activation: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(1, 1))
    x = torch.randn(4, 256, 12, 12)
    pair = separate(net, norm=False, activation=activation).model[0]
    with torch.no_grad():
        ratio = pair(x).square().mean() / net[0](x).square().mean()
    assert ratio.item() == pytest.approx(1, rel=0.15)


def test_a_mobilenet_block_has_the_published_share() -> None:
    net = create("vgg16_bn(width=0.25) | fit_input(size=32)", num_classes=10)
    outcome = separate(net)
    for change in outcome.changed:
        old: Any = net.get_submodule(change.name)
        new: Any = outcome.model.get_submodule(change.name)
        share = sum(step.weight.numel() for step in new if isinstance(step, nn.Conv2d)) / old.weight.numel()
        assert share == pytest.approx(1 / old.out_channels + 1 / 9)
    assert len(outcome.changed) == 12


def test_keeps_what_it_should_with_the_reason() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.read, self.point = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1)
            self.wise, self.groups = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2)
            self.thin, self.masked = nn.Conv2d(8, 1, 3), nn.Conv2d(1, 8, 3)
            self.five, self.last = nn.Conv2d(8, 8, 5), nn.Conv2d(8, 10, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.conv2d(self.image(x), self.read.weight)
            return self.last(self.five(self.masked(self.thin(self.groups(self.wise(self.point(x)))))))

    net = Reads()
    encode(net.masked, "weight", Mask(sparsity=0.5, shape=net.masked.weight.shape))
    outcome = separate(net, skip=["five"])
    assert dict(outcome.kept) == {
        "image": "it reads 3 channels, and would filter each in one way only",
        "read": "the forward reads its weight from outside",
        "point": "its kernel is 1x1: it mixes channels and nothing else",
        "wise": "it is depthwise: its channels do not mix",
        "groups": "its 2 groups are thin already",
        "thin": "two steps cost 80 MACs for a pixel of the output, the layer 72",
        "masked": "a weight is parametrised: bake it first",
        "five": "named in skip",
        "last": "it gives the answer of the net, for which all channels count",
    }
    assert not outcome.changed


def test_frozen_layers_stay_frozen_and_the_seed_decides() -> None:
    net = one()
    net[0].requires_grad_(False)
    torch.manual_seed(3)
    first = separate(net).model
    torch.manual_seed(3)
    second = separate(net).model
    torch.manual_seed(4)
    third = separate(net).model
    assert not any(parameter.requires_grad for parameter in first[0].parameters())
    assert torch.equal(first[0].pointwise.weight, second[0].pointwise.weight)
    assert not torch.equal(first[0].pointwise.weight, third[0].pointwise.weight)


def test_the_inner_convolutions_of_a_layer_of_danlu_are_its_own() -> None:
    net = create("allconv5(width=0.25) | deform(last=1)", num_classes=10)
    outcome = edit(net, "separate")
    assert ("separate: 6.offset", "it is a part of the DeformableConv2d it belongs to") in outcome.kept
    assert [change.name for change in outcome.changed] == ["separate: 2", "separate: 4"]


def test_twice_finds_nothing_more() -> None:
    net = create("resnet20(width=0.5) | separate", num_classes=10)
    assert not edit(net, "separate").changed
