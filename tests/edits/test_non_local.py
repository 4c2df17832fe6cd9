"""non_local: where the blocks go, that a trained net stays what it is, and what each kind costs."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from danlu.edits import edit
from danlu.edits.non_local import non_local
from danlu.edits.price import predict
from danlu.errors import UsageError
from danlu.nn import NonLocal2d
from danlu.zoo import create

KINDS = ("gaussian", "embedded", "dot", "concat")


def places(recipe: str, **options: object) -> list[str]:
    with torch.device("meta"):
        return [change.name for change in non_local(create(recipe, num_classes=10), **options).changed]


def test_the_places() -> None:
    assert places("resnet20") == ["layer2.1", "layer3.1"]
    assert places("resnet50", stages=[3]) == ["layer3.4"], "before the last of six blocks"
    assert places("resnet8") == ["layer2.0", "layer3.0"], "stages of one block"
    assert places("resnet20", at=["layer1", "layer2.0"]) == ["layer1", "layer2.0"]
    assert places("allconv6", stages=[1, 9]) == ["3"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("net", ["resnet20(width=0.5)", "allconv6(width=0.25) | fit_input(size=32)"])
def test_the_outputs_stay_until_the_blocks_have_learned(kind: str, net: str) -> None:
    model = create(net, num_classes=10, seed=0).eval()
    outcome = edit(model, f"non_local(kind={kind!r}, stages=[1, 3])")
    added = [layer for layer in outcome.model.modules() if isinstance(layer, NonLocal2d)]
    assert [layer.kind for layer in added] == [kind, kind]
    x = torch.randn(2, 3, 32, 32)
    y = outcome.model(x)
    assert torch.equal(y, model(x))
    outcome.model.train()(x).square().sum().backward()
    step = torch.optim.SGD(outcome.model.parameters(), lr=0.1)
    step.step()
    assert all(
        not torch.equal(layer(torch.ones(1, layer.channels, 4, 4)), torch.ones(1, layer.channels, 4, 4)) for layer in added
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("at", ["layer2.1", "layer2.0", "layer2"])  # the last two halve their map
def test_the_price_at_several_sizes(kind: str, subsample: bool, at: str) -> None:
    with torch.device("meta"):
        net = create("resnet20", num_classes=10).eval()
    outcome = non_local(net, kind=kind, at=[at], subsample=subsample)
    for size in (32, 64):
        macs = []
        for model in (net, outcome.model.eval()):
            with FlopCounterMode(display=False) as flops, torch.no_grad():
                model(torch.empty(1, 3, size, size, device="meta"))
            macs.append(flops.get_total_flops() // 2)
        assert predict(net, outcome, (3, size, size)) == (outcome.params[1] - outcome.params[0], macs[1] - macs[0])


def test_reasons_to_keep() -> None:
    with torch.device("meta"):
        net = create("resnet20", num_classes=10)
    assert non_local(net, stages=[4]).kept == [("", "it has no units in stages [4]; its stages are [1, 2, 3]")]
    assert non_local(net, skip=["layer2"], stages=[2]).kept == [("layer2.1", "named in skip")]
    assert non_local(net, at=["fc"]).kept == [("fc", "it gives no map [C, H, W], or its part of the net does not run alone")]
    again = non_local(edit(net, "non_local").model, at=["layer2.1", "layer2.1.0", "layer2.2"])
    assert again.kept == [(name, "it has a NonLocal2d already") for name in ("layer2.1", "layer2.1.0")]
    assert [change.name for change in again.changed] == ["layer2.2"]
    exits = non_local(create("resnet20 | add_exits(at=['layer2.1'])", num_classes=10), at=["net.layer2"])
    assert exits.kept == [("net.layer2", "an exit of the net lies in it")]


def test_nested_places() -> None:
    net = create("resnet20(width=0.5)", num_classes=10, seed=0).eval()
    outcome = non_local(net, at=["layer1", "layer1.2", "layer1.2.bn2"])
    assert [change.name for change in outcome.changed] == ["layer1", "layer1.2", "layer1.2.bn2"]
    assert sum(isinstance(layer, NonLocal2d) for layer in outcome.model.modules()) == 3
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(outcome.model(x), net(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "softmax"}, "unknown non_local: kind 'softmax'"),
        ({"stages": [0]}, "stages is a list of whole numbers from 1"),
        ({"stages": "2"}, "stages is a list of whole numbers from 1"),
        ({"at": "layer1"}, "at is a list of module names"),
        ({"at": ["layer9"]}, r"unknown module in non_local\(at=...\) 'layer9'; did you mean"),
    ],
)
def test_usage(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        non_local(create("resnet8"), **options)


def test_an_empty_net_is_left_alone() -> None:
    assert non_local(nn.Sequential()).kept == [("", "it has no units in stages [2, 3]; its stages are []")]
