"""Fewer units: the other direction of deepen, the zoo's shallower nets, and a net whose units do nothing."""

import pytest
import torch
from torch import nn

from danlu.cost import profile
from danlu.edits import edit
from danlu.edits.price import predict
from danlu.edits.shorten import shorten
from danlu.errors import UsageError
from danlu.zoo import create


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("net", "steps", "shallower"),
    [
        ("resnet20", "shorten(stage=1, by=2) | shorten(stage=2, by=2) | shorten(stage=3, by=2)", "resnet8"),
        (
            "resnet34(width=0.25)",
            "shorten(stage=3, by=4) | shorten(stage=2, by=2) | shorten(stage=1) | shorten(stage=4)",
            "resnet18",
        ),
        ("mobilenet_v1(width=0.25)", "shorten(stage=4, by=5)", "mobilenet_v1(depth=18, width=0.25)"),
        ("vgg16_bn(width=0.25)", "shorten(stage=3) | shorten(stage=4) | shorten(stage=5)", "vgg13_bn"),
    ],
)
def test_gives_the_shallower_nets_of_the_zoo(net, steps, shallower):
    options = net.partition("(")[2]
    name = shallower if "(" in shallower or not options else f"{shallower}({options}"
    after = edit(create(net, num_classes=10), steps).model
    assert shapes(after) == shapes(create(name, num_classes=10))


def test_units_that_do_nothing_are_not_missed():
    net = create("preact_resnet20", num_classes=10, seed=0).eval()
    for i in (1, 2):
        nn.init.zeros_(net.layer2[i].conv2.weight)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(edit(net, "shorten(stage=2, by=2)").model.eval()(x), net(x))
    assert not torch.equal(edit(net, "shorten(stage=1)").model.eval()(x), net(x))


def test_undoes_deepen():
    net = create("googlenet(width=0.25) | fit_input(size=32)", num_classes=10, seed=0)
    again = edit(net, "deepen(stage=3, by=2) | shorten(stage=3, by=2)").model
    assert "inception4c" in again._modules or "inception4b" in again._modules
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in net.parameters())
    assert again.eval()(x).shape == (2, 10)


@pytest.mark.parametrize(
    ("net", "stage", "by"), [("resnet20", 1, 2), ("vgg16_bn(width=0.25)", 3, 2), ("mobilenet_v1(width=0.25)", 4, 3)]
)
def test_costs_what_it_predicts(net, stage, by):
    before = create(net, num_classes=10, seed=0)
    outcome = shorten(before, stage=stage, by=by)
    old, new = (profile(model, (3, 32, 32)).macs for model in (before, outcome.model))
    assert predict(before, outcome, (3, 32, 32)) == (outcome.params[1] - outcome.params[0], new - old)
    assert len(outcome.changed) == by
    assert new < old


def test_what_cannot_go_stays_with_a_reason():
    net = create("resnet20", num_classes=10)
    outcome = edit(net, "shorten(stage=1, by=2)")
    assert [change.name for change in outcome.changed] == ["shorten: layer1.1", "shorten: layer1.2"]
    assert outcome.kept == [("shorten: layer1.0", "its chain would be empty without it")]
    outcome = edit(net, "shorten(stage=2, skip=['layer2.2'])")
    assert [change.name for change in outcome.changed] == ["shorten: layer2.1"]
    assert dict(outcome.kept) == {
        "shorten: layer2.2": "named in skip", "shorten: layer2.0": "its output has another shape than its input",
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"at most 2 \(layer3.1, layer3.2\), got by=3"):
        edit(net, "shorten(stage=3, by=3)")
