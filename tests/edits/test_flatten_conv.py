"""flatten_conv: counts by the paper's formula, the scale of the signal, what stays and why, the price to the last MAC."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from danlu.edits.flatten_conv import flatten_conv
from danlu.edits.price import predict
from danlu.errors import UsageError
from danlu.nn import FlattenedConv2d
from danlu.zoo import create

# Input and output channels of the 19 convolutions of resnet20.
CONVS = [(3, 16)] + [(16, 16)] * 6 + [(16, 32)] + [(32, 32)] * 5 + [(32, 64)] + [(64, 64)] * 5


# Where so many stages would cost more than the dense layer: the stem, and a narrow layer whose stride comes after its 1x1 step.
DEAR = {1: {}, 2: {"conv1": (3, 16)}, 3: {"conv1": (3, 16), "layer2.0.conv1": (16, 32)}}


@pytest.mark.parametrize("stages", DEAR)
def test_resnet20_has_the_weights_of_the_formula(stages: int) -> None:
    outcome = flatten_conv(create("resnet20", num_classes=10, seed=0), stages=stages)
    assert {name for name, _ in outcome.kept} == DEAR[stages].keys()
    assert all(reason.endswith("would not get cheaper") for _, reason in outcome.kept)
    changed = [shape for shape in CONVS if shape not in DEAR[stages].values()]
    before = sum(9 * i * o for i, o in changed)
    after = sum(o * (i + 6) + (stages - 1) * o * (o + 6) for i, o in changed)
    assert outcome.params[0] - outcome.params[1] == before - after


def test_the_flattened_net_of_the_zoo_is_this_edit_of_its_dense_form() -> None:
    dense = create("flattened_net(width=0.5)", seed=0)
    for i, (into, out) in enumerate([(3, 48), (48, 64), (64, 128)], 1):
        dense.add_module(f"conv{i}", nn.Conv2d(into, out, 5, padding=2))
    flat = flatten_conv(dense, stages=2).model
    wanted = {name: tensor.shape for name, tensor in create("flattened_net(width=0.5)", seed=0).state_dict().items()}
    assert {name: tensor.shape for name, tensor in flat.state_dict().items()} == wanted


@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2), st.integers(14, 21), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_the_map_keeps_its_size(kernel: int, stride: int, padding: int, dilation: int, size: int, stages: int) -> None:
    conv = nn.Conv2d(6, 12, kernel, stride, min(padding, kernel // 2), dilation)
    outcome = flatten_conv(nn.Sequential(conv, nn.Linear(4, 4)), stages=stages)
    x = torch.zeros(1, 6, size, size + 3)
    assert outcome.model[0](x).shape == conv(x).shape


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_the_signal_keeps_the_scale_that_the_layer_gave_it(stages: int, gain: float) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 256, 3, padding=1, bias=False)
    nn.init.normal_(conv.weight, std=(gain / (64 * 9)) ** 0.5)
    x = torch.randn(8, 64, 16, 16)
    model = flatten_conv(nn.Sequential(conv, nn.Linear(1, 1)), stages=stages).model
    new, old = model[0](x)[..., 3:-3, 3:-3].square().mean(), conv(x)[..., 3:-3, 3:-3].square().mean()
    assert 0.6 < (new / old).item() < 1.6


def test_biases_and_gradient_flags_carry_over() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Linear(4, 4))
    net[0].requires_grad_(False)
    nn.init.normal_(net[0].bias)
    model = flatten_conv(net).model
    assert torch.equal(model[0].horizontal.bias, net[0].bias)
    assert not model[0].lateral.bias.any()
    assert not any(p.requires_grad for p in model[0].parameters())
    assert all(step.bias is None and step.weight.requires_grad for step in model[1])


def kept(layer: nn.Module, **options: int) -> str:
    outcome = flatten_conv(nn.Sequential(layer, nn.Linear(2, 2)), **options)
    assert not outcome.changed
    return outcome.kept[0][1]


def test_why_layers_stay() -> None:
    assert kept(nn.Conv2d(8, 8, 3, groups=8)) == "it is depthwise: its channels do not mix"
    assert kept(nn.Conv2d(8, 8, 1)) == "its kernel 1x1 has no two directions to split"
    assert kept(nn.Conv2d(8, 8, (7, 1))) == "its kernel 7x1 has no two directions to split"
    assert kept(nn.Conv2d(8, 8, 4, stride=4)) == "its kernel 4x4 at stride 4 would not get cheaper"
    assert kept(nn.Conv2d(8, 8, 4), stages=2) == "its even kernel 4x4 would shift the map in a second stage"
    assert flatten_conv(nn.Sequential(nn.Conv2d(8, 8, 4), nn.Linear(2, 2))).changed
    assert flatten_conv(nn.Sequential(nn.Conv2d(8, 8, 3))).kept[0][1].startswith("it gives the answer of the net")


def test_a_second_time_finds_nothing() -> None:
    once = flatten_conv(create("resnet8", num_classes=10, seed=0)).model
    again = flatten_conv(once)
    assert not again.changed
    assert {reason for _, reason in again.kept} == {
        "its kernel 1x1 has no two directions to split", "it is depthwise: its channels do not mix"
    }  # fmt: skip


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(("net", "size"), [("resnet20", 32), ("vgg11(width=0.125)", 64), ("allconv6(width=0.25)", 64)])
def test_the_price_is_exact_where_maps_divide_evenly(net: str, size: int, stages: int) -> None:
    with torch.device("meta"):
        before = create(net, num_classes=10)
        outcome = flatten_conv(before, stages=stages)
    macs = []
    for model in (before, outcome.model):
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            model.eval()(torch.empty(1, 3, size, size, device="meta"))
        macs.append(flops.get_total_flops() // 2)
    assert outcome.changed
    assert predict(before, outcome, (3, size, size)) == (outcome.params[1] - outcome.params[0], macs[1] - macs[0])


@pytest.mark.parametrize("stages", [0, 5, True, 1.5, "2"])
def test_bad_stages_are_refused(stages: object) -> None:
    with pytest.raises(UsageError, match="stages is a whole number from 1 to 4"):
        flatten_conv(nn.Sequential(nn.Conv2d(8, 8, 3)), stages=stages)  # type: ignore[arg-type]


def test_one_stage_is_the_registered_layer() -> None:
    model = flatten_conv(nn.Sequential(nn.Conv2d(8, 16, 5, stride=2, padding=2), nn.Linear(2, 2))).model
    assert isinstance(model[0], FlattenedConv2d)
    assert (model[0].kernel_size, model[0].stride, model[0].padding) == ((5, 5), (2, 2), (2, 2))
