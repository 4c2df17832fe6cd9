"""More units: against the zoo's deeper nets, and against what a copied unit must cost."""

import pytest
import torch
from torch import nn

from danlu.cost import profile
from danlu.edits import edit
from danlu.edits._units import units
from danlu.edits.deepen import deepen
from danlu.edits.price import predict
from danlu.errors import UsageError
from danlu.zoo import create


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("net", "steps", "deeper"),
    [
        ("resnet8", "deepen(stage=1) | deepen(stage=2) | deepen(stage=3)", "resnet14"),
        ("resnet20", "deepen(stage=1, by=2) | deepen(stage=2, by=2) | deepen(stage=3, by=2)", "resnet32"),
        (
            "resnet18(width=0.25)",
            "deepen(stage=1) | deepen(stage=2, by=2) | deepen(stage=3, by=4) | deepen(stage=4)",
            "resnet34(width=0.25)",
        ),
        ("vgg11_bn(width=0.25)", "deepen(stage=1)", None),
        ("vgg11(width=0.25)", "deepen(stage=3) | deepen(stage=4)", None),
        ("mobilenet_v1(width=0.25, depth=18)", "deepen(stage=4, by=5)", "mobilenet_v1(width=0.25)"),
        ("resnet50(width=0.25)", "deepen(stage=3, by=17)", "resnet101(width=0.25)"),
    ],
)
def test_gives_the_deeper_nets_of_the_zoo(net, steps, deeper):
    before = create(net, num_classes=10, seed=0)
    after = edit(before, steps).model
    if deeper:
        assert shapes(after) == shapes(create(deeper, num_classes=10))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert after.train()(x).isfinite().all()
    assert len(units(after)) > len(units(before))
    assert len({unit.stage for unit in units(after)}) == len({unit.stage for unit in units(before)})


def test_vgg11_becomes_vgg13_where_a_stage_has_one_convolution_only():
    # Stage 1 of vgg11's units is its second convolution alone, 64 -> 128: the new one is 128 -> 128, as in vgg13.
    after = edit(create("vgg11(width=0.25)", num_classes=10), "deepen(stage=1)").model
    conv = after.features[5]
    assert (conv.in_channels, conv.out_channels, conv.stride, conv.kernel_size) == (32, 32, (1, 1), (3, 3))
    vgg13 = create("vgg13(width=0.25)", num_classes=10)
    assert [list(s) for n, s in shapes(after).items() if "weight" in n][1:] == [
        list(s) for n, s in shapes(vgg13).items() if "weight" in n and n != "features.2.weight"
    ][1:]


@pytest.mark.parametrize(
    ("net", "stage", "by"),
    [
        ("resnet20", 2, 3),
        ("vgg11(width=0.25)", 1, 2),
        ("googlenet(width=0.25) | fit_input(size=32)", 3, 1),
        ("allconv6(width=0.25)", 2, 1),
    ],
)
def test_costs_what_it_predicts(net, stage, by):
    before = create(net, num_classes=10, seed=0)
    outcome = deepen(before, stage=stage, by=by)
    old, new = (profile(model, (3, 32, 32)).macs for model in (before, outcome.model))
    assert predict(before, outcome, (3, 32, 32)) == (outcome.params[1] - outcome.params[0], new - old)
    assert outcome.changed


def test_fresh_weights_on_the_scale_of_the_unit_and_the_rest_untouched():
    before = create("resnet20", num_classes=10, seed=0)
    after = edit(before, "deepen(stage=3, by=2)").model
    template, one, two = (after.layer3[i].conv2.weight for i in (2, 3, 4))
    assert torch.equal(template, before.layer3[2].conv2.weight)
    assert not torch.equal(one, template)
    assert not torch.equal(one, two)
    assert one.std().item() == pytest.approx(template.std().item(), rel=0.02)
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())


def test_names_in_a_named_chain_and_the_exits_of_a_net():
    net = create("googlenet(width=0.25) | fit_input(size=32) | add_exits(at=['inception4a', 'inception5a'])", num_classes=10)
    after = edit(net, "deepen(stage=3) | deepen(stage=3)").model
    assert list(after.net._modules)[list(after.net._modules).index("inception4c") :][:4] == [
        "inception4c", "inception4c_2", "inception4c_2_2", "inception4d",
    ]  # fmt: skip
    numbered = create("vgg11(width=0.25) | fit_input(size=32) | add_exits(at=['features.14'])", num_classes=10)
    after = edit(numbered, "deepen(stage=1)").model
    assert after.places == ("features.16",)
    assert after.train()(torch.zeros(2, 3, 32, 32)).shape == (2, 2, 10)


def test_stages_and_numbers_are_checked():
    net = create("resnet20", num_classes=10)
    for options, message in (
        ("stage=4", "from 1 to 3, got stage=4"), ("stage=0", "from 1 to 3"), ("stage=1, by=0", "at least 1; got 0"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            edit(net, f"deepen({options})")
    outcome = edit(net, "deepen(stage=2, skip=['layer2'])")
    assert [name for name, _ in outcome.kept] == [f"deepen: layer2.{i}" for i in range(3)]
    assert not outcome.changed
    reasons = edit(create("lenet5", in_channels=1, num_classes=10), "deepen(stage=1)").kept
    assert reasons == [("deepen: 3", "its output has another shape than its input")]  # a convolution without padding
