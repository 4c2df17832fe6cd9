"""factorize_kernel: sizes and counts by formula, the scale of the signal, what stays and why, the price to the last MAC."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from danlu.edits import edit
from danlu.edits.factorize_kernel import factorize_kernel
from danlu.edits.price import predict
from danlu.errors import UsageError
from danlu.nn import AsymmetricConv2d, StackedConv2d
from danlu.zoo import create, models


def test_every_3x3_behind_the_stem_of_resnet20_becomes_a_column_and_a_row() -> None:
    net = create("resnet20", num_classes=10, seed=0)
    outcome = edit(net, "factorize_kernel")
    assert len(outcome.changed) == 18
    assert outcome.kept == [("factorize_kernel: conv1", "3 channels are too few to pass on between the steps")]
    block = outcome.model.get_submodule("layer2.0.conv1")
    assert isinstance(block, AsymmetricConv2d)
    assert [type(step).__name__ for step in block] == ["Conv2d", "ReLU", "Conv2d"]
    assert (block.hidden, block.stride) == (16, (2, 2))
    convs = [(16, 16)] * 6 + [(16, 32)] + [(32, 32)] * 5 + [(32, 64)] + [(64, 64)] * 5
    saved = sum(9 * i * o - 3 * min(i, o) * (i + o) for i, o in convs)
    assert outcome.params[0] - outcome.params[1] == saved


def test_stack_takes_the_5x5_branches_of_googlenet_and_leaves_the_3x3() -> None:
    with torch.device("meta"):
        net = models["googlenet_lrn"].build(width=0.5)
    outcome = factorize_kernel(net, method="stack")
    assert len(outcome.changed) == 9
    assert all(change.name.endswith("branch3.1.conv") for change in outcome.changed)
    reasons = dict(outcome.kept)
    assert reasons["inception3a.branch2.1.conv"] == "3x3 layers add up to odd squares from 5x5; its kernel is 3x3"
    assert reasons["inception3a.branch1.conv"] == "its kernel 1x1 has no two directions to split"
    assert reasons["conv1.conv"] == "3 channels are too few to pass on between the steps"


@given(
    st.sampled_from(["asymmetric", "stack"]), st.integers(2, 7), st.integers(1, 3), st.integers(0, 4), st.integers(1, 2),
    st.integers(15, 22), st.sampled_from(["none", "relu", "bn_relu"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_map_keeps_its_size(
    method: str, kernel: int, stride: int, padding: int, dilation: int, size: int, between: str
) -> None:
    conv = nn.Conv2d(8, 12, kernel, stride, min(padding, kernel // 2), dilation)
    outcome = factorize_kernel(nn.Sequential(conv, nn.Conv2d(12, 4, 1)), method=method, between=between)  # type: ignore[arg-type]
    x = torch.zeros(1, 8, size, size + 3)
    assert outcome.model[0](x).shape == conv(x).shape
    assert len(outcome.changed) + len(outcome.kept) == 2


@pytest.mark.parametrize("method", ["asymmetric", "stack"])
@pytest.mark.parametrize("between", ["none", "relu", "bn_relu"])
@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_the_signal_keeps_the_scale_that_the_layer_gave_it(method: str, between: str, gain: float) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 5, padding=2, bias=False)
    nn.init.normal_(conv.weight, std=(gain / (64 * 25)) ** 0.5)
    x = torch.randn(8, 64, 24, 24).relu()
    model = factorize_kernel(nn.Sequential(conv, nn.Flatten(), nn.Linear(1, 1)), method=method, between=between).model  # type: ignore
    new, old = model[0](x)[..., 4:-4, 4:-4].square().mean(), conv(x)[..., 4:-4, 4:-4].square().mean()
    if between == "bn_relu":  # a norm sets the scale in between to 1, so half the energy is what the last step meets
        old = torch.tensor(gain / 2)
    assert 0.7 < (new / old).item() < 1.4


def test_frozen_layers_stay_frozen_and_biases_stay() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Linear(4, 4))
    net[0].requires_grad_(False)
    nn.init.normal_(net[0].bias)
    model = factorize_kernel(net).model
    assert torch.equal(model[0].horizontal.bias, net[0].bias)
    assert not model[0].vertical.bias.any()
    assert not any(p.requires_grad for p in model[0].parameters())
    assert all(p.requires_grad for p in model[1].parameters())
    assert model[1].horizontal.bias is None


def kept(layer: nn.Module, **options: str) -> str:
    outcome = factorize_kernel(nn.Sequential(layer, nn.Linear(2, 2)), **options)  # type: ignore[arg-type]
    assert not outcome.changed
    return outcome.kept[0][1]


def test_why_layers_stay() -> None:
    assert kept(nn.Conv2d(8, 8, 3, groups=8)) == "it is depthwise: its channels do not mix"
    assert kept(nn.Conv2d(8, 8, 3, groups=2)) == "its 2 groups are thin already"
    assert kept(nn.Conv2d(8, 8, (1, 7))) == "its kernel 1x7 has no two directions to split"
    assert kept(nn.Conv2d(8, 8, 2)) == "its kernel 2x2 at stride 1 would not get cheaper"
    assert kept(nn.Conv2d(8, 8, 4, padding="same")) == 'its padding="same" is not the same on both sides'
    assert kept(nn.Conv2d(8, 8, 6), method="stack") == "3x3 layers add up to odd squares from 5x5; its kernel is 6x6"
    assert kept(nn.Conv2d(8, 8, 5, dilation=2), method="stack").startswith("its filter has holes (dilation 2)")
    assert kept(nn.Conv2d(8, 8, 5, stride=5), method="stack").endswith("would not get cheaper")
    alone = factorize_kernel(nn.Sequential(nn.Conv2d(8, 8, 3)))
    assert alone.kept == [("0", "it gives the answer of the net, for which all channels count")]


def test_a_second_time_finds_nothing() -> None:
    once = factorize_kernel(create("resnet8", num_classes=10, seed=0)).model
    assert not factorize_kernel(once).changed
    assert not factorize_kernel(once, method="stack").changed


def test_same_padding_is_taken_in_numbers() -> None:
    conv = nn.Conv2d(8, 8, 5, padding="same", dilation=2)
    model = factorize_kernel(nn.Sequential(conv, nn.Linear(2, 2))).model
    assert model[0].padding == (4, 4)


@pytest.mark.parametrize(
    ("net", "size", "step"),
    [
        ("resnet20", 32, "asymmetric"), ("vgg11(width=0.125)", 32, "asymmetric"),
        ("googlenet_lrn(width=0.25)", 64, "stack"), ("googlenet_lrn(width=0.25)", 64, "asymmetric"),
    ],
)  # fmt: skip
def test_the_price_is_exact_where_maps_divide_evenly(net: str, size: int, step: str) -> None:
    with torch.device("meta"):
        before = create(net, num_classes=10)
        outcome = factorize_kernel(before, method=step)  # type: ignore[arg-type]
    macs = []
    for model in (before, outcome.model):
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            model.eval()(torch.empty(1, 3, size, size, device="meta"))
        macs.append(flops.get_total_flops() // 2)
    assert outcome.changed
    assert predict(before, outcome, (3, size, size)) == (outcome.params[1] - outcome.params[0], macs[1] - macs[0])


def test_kinds_and_refusals() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 7, padding=3), nn.Linear(2, 2))
    stacked = factorize_kernel(net, method="stack", between="none").model[0]
    assert isinstance(stacked, StackedConv2d)
    assert [type(step).__name__ for step in stacked] == ["Conv2d"] * 3
    with pytest.raises(UsageError, match=r"unknown method 'stacked'; did you mean stack"):
        factorize_kernel(net, method="stacked")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"between"):
        factorize_kernel(net, between="silu")  # type: ignore[arg-type]
