"""The big-little edit: a stage against its branches by hand, what it saves, and what it leaves alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.edits import edits
from danlu.edits.surgery import Outcome
from danlu.errors import UsageError
from danlu.nn import BigLittle
from danlu.zoo import create


def big_little(model: nn.Module, **options: object) -> Outcome:
    return edits["big_little"].build(model, **options)


def test_a_stage_of_a_resnet_is_its_old_blocks_at_half_size_and_a_thin_branch():
    net = create("resnet20", num_classes=10, seed=0).eval()
    torch.manual_seed(0)
    stage = big_little(net).model.eval().layer2
    branches = stage[0]
    assert isinstance(branches, BigLittle)
    x = torch.randn(2, 16, 32, 32)
    old = net.layer2
    coarse = old[1](old[0](x.reshape(2, 16, 16, 2, 16, 2).mean((3, 5))))
    fine = branches.little(x)
    assert fine.shape == (2, 32, 16, 16)
    expected = old[2](fine + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))
    with torch.no_grad():
        torch.testing.assert_close(stage(x), expected)


def test_the_little_branch_is_thin_and_short():
    net = create("resnet110", num_classes=10, seed=0)
    little = big_little(net, alpha=4, beta=8).model.layer3[0].little
    shapes = [tuple(layer.weight.shape[:2]) for layer in little if isinstance(layer, nn.Conv2d)]
    assert shapes == [(16, 32), (16, 16), (16, 16), (64, 16)]  # 17 blocks beside it, one 3x3 for each 8
    assert [layer.stride for layer in little if isinstance(layer, nn.Conv2d)] == [(1, 1), (2, 2), (1, 1), (1, 1)]


def test_the_names_behind_it_stay():
    net = create("vgg16_bn(width=0.25)", num_classes=10, seed=0)
    outcome = big_little(net)
    assert isinstance(outcome.model.features, nn.Sequential)
    assert list(outcome.model.features._modules) == list(net.features._modules)
    changed = {change.name for change in outcome.changed}
    untouched = {name for name, _ in net.named_parameters() if name.rpartition(".")[0].rpartition(".")[0] != "features"}
    state = outcome.model.state_dict()
    assert untouched
    assert all(torch.equal(state[name], net.state_dict()[name]) for name in untouched)
    assert all(name in dict(net.named_modules()) for name in changed)


def test_nets_without_norms_get_a_branch_with_biases():
    net = create("vgg16(width=0.25) | fit_input(size=32)", num_classes=10, seed=0)
    made = [module for module in big_little(net).model.modules() if isinstance(module, BigLittle)]
    kinds = {type(layer) for module in made for layer in module[1]}
    assert kinds == {nn.Conv2d, nn.ReLU}
    assert all(layer.bias is not None for module in made for layer in module[1] if isinstance(layer, nn.Conv2d))


def conv(*, groups: int = 1, padding: int = 1) -> nn.Conv2d:
    return nn.Conv2d(16, 16, 3, padding=padding, groups=groups)


def test_what_it_leaves_alone_says_why():
    one_stage = nn.Sequential(nn.Conv2d(3, 16, 3), nn.MaxPool2d(2), conv(), nn.MaxPool2d(2), conv())
    assert set(dict(big_little(one_stage).kept).values()) == {
        "the only unit of its stage: the branches need one behind them to fuse them"
    }
    small = nn.Sequential(nn.Conv2d(3, 16, 3), conv(padding=0), conv(padding=0))
    assert "its map is not as large as its input's" in dict(big_little(small).kept).values()
    cheap = nn.Sequential(nn.Conv2d(3, 16, 3), conv(groups=16), conv(groups=16), conv(groups=16))
    assert "the little branch would cost more than the big one saves" in dict(big_little(cheap).kept).values()
    nothing = big_little(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)))
    assert nothing.kept == [("", "there is no chain of blocks or convolutions in it")]
    tied = conv()
    shared = nn.Sequential(nn.Conv2d(3, 16, 3), tied, conv(), nn.MaxPool2d(2), tied)
    assert "a module of it hangs in two places" in dict(big_little(shared).kept).values()


def test_a_skipped_unit_stays_and_the_others_go_on():
    net = create("resnet32", num_classes=10, seed=0)
    outcome = big_little(net, skip=["layer1", "layer2.1", "layer3.0.conv1"])
    kept = dict(outcome.kept)
    assert [kept[name] for name in ("layer1.0", "layer1.4", "layer2.1", "layer3.0")] == ["named in skip"] * 4
    assert isinstance(outcome.model.layer2[2], BigLittle)
    assert isinstance(outcome.model.layer3[1], BigLittle)
    assert not any(isinstance(module, BigLittle) for module in outcome.model.layer1.modules())


def test_the_blocks_keep_their_weights():
    net = create("resnet20", num_classes=10, seed=0)
    before = copy.deepcopy(net.state_dict())
    big = big_little(net).model.layer1[0].big
    x = torch.randn(1, 16, 8, 8)
    expected = net.eval().layer1[:2](F.avg_pool2d(x, 2))
    with torch.no_grad():
        torch.testing.assert_close(big.eval()(x), expected)
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("options", [{"alpha": 0}, {"beta": 0}])
def test_bad_factors_are_refused(options):
    with pytest.raises(UsageError, match="alpha and beta"):
        big_little(create("resnet8", num_classes=10), **options)
