"""Stochastic depth as an edit: where it goes, by the paper's rule, and that inference does not notice."""

import pytest
import torch
from torch import nn

from danlu.edits import edit
from danlu.errors import UsageError
from danlu.nn import StochasticDepth
from danlu.zoo import create


def drops(model: nn.Module) -> dict[str, float]:
    return {name: layer.survival for name, layer in model.named_modules() if isinstance(layer, StochasticDepth)}


def test_is_the_zoo_s_net_of_the_paper():
    edited = edit(create("resnet110(width=0.5)", num_classes=10, seed=0), "stochastic_depth(per='batch')").model
    published = create("stochastic_depth_resnet110(width=0.5)", num_classes=10, seed=0)
    assert list(drops(edited).values()) == pytest.approx(list(drops(published).values()))
    for name in drops(published):
        assert isinstance(edited.get_submodule(name.replace("drop", "bn2")), nn.Sequential)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    answers = []
    for net in (edited.train(), published.train()):  # the same draws in the same order
        torch.manual_seed(1)
        answers.append(net(x))
    torch.testing.assert_close(*answers)


def test_uniform_survival_and_skip():
    net = create("resnet20", num_classes=10, seed=0)
    outcome = edit(net, "stochastic_depth(survival=0.8, decay='uniform', skip=['layer1', 'layer2.0.bn2'])")
    assert set(drops(outcome.model).values()) == {0.8}
    assert [name for name, _ in outcome.kept] == [
        f"stochastic_depth: {name}" for name in ("layer1.0.bn2", "layer1.1.bn2", "layer1.2.bn2", "layer2.0.bn2")
    ]
    assert len(outcome.changed) == 5
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(outcome.model.eval()(x), net.eval()(x))


def test_a_dropped_branch_leaves_the_shortcut():
    net = edit(create("resnet8", num_classes=10, seed=0), "stochastic_depth(survival=1e-9, decay='uniform')").model.train()
    block = net.layer1[0]
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("name", ["stochastic_depth_resnet110(width=0.5)", "resnet20 | stochastic_depth"])
def test_not_twice(name):
    net = create(name, num_classes=10)
    outcome = edit(net, "stochastic_depth")
    assert not outcome.changed
    assert {reason for _, reason in outcome.kept} == {"its branch has stochastic depth already"}
    assert len(outcome.kept) == len(drops(net))


def test_a_net_without_residual_branches_is_kept():
    outcome = edit(create("vgg11(width=0.25)", num_classes=10), "stochastic_depth")
    assert outcome.kept == [("stochastic_depth", "no residual branch in it ends in a layer")]


@pytest.mark.parametrize(
    ("options", "message"),
    [("survival=0.0", "above 0 and at most 1"), ("decay='cosine'", "decay"), ("per='channel'", "per")],
)
def test_bad_options(options, message):
    with pytest.raises(UsageError, match=message):
        edit(create("vgg11(width=0.25)", num_classes=10), f"stochastic_depth({options})")
