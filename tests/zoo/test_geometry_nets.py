"""Octave, big-little, deformable and active ResNets: published costs, and the nets that they are made from."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.edits.surgery import set_module
from danlu.errors import UsageError
from danlu.nn import ActiveConv2d, BigLittle, DeformableConv2d, OctaveConv2d
from danlu.zoo import models

INPUT = (3, 224, 224)


def built(name: str, **options: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models[name].build(**options)


def images(side: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def copy_by_order(source: nn.Module, target: nn.Module) -> None:
    """All tensors of one net into another that holds the same ones in the same order, under other names."""
    values = list(source.state_dict().values())
    target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))


# Chen et al. 2019, table 2: MACs in billions.
@pytest.mark.parametrize(("alpha", "billions"), [(0.0, 4.1), (0.125, 3.6), (0.25, 3.1), (0.5, 2.4), (0.75, 1.9)])
def test_octave_resnet50_costs_what_is_published(alpha, billions, count):
    with torch.device("meta"):
        params, macs = count(models["octave_resnet50"].build(alpha=alpha), INPUT)
    assert params == models["resnet50"].facts["params"]
    assert macs / 1e9 == pytest.approx(billions, abs=0.05)


def test_without_low_maps_it_is_a_resnet_that_strides_by_pooling():
    plain, octave = built("resnet50", width=0.125, num_classes=7), built("octave_resnet50", width=0.125, num_classes=7, alpha=0.0)
    copy_by_order(plain, octave)
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2) and name != "conv1":
            layer.stride = (1, 1)
            set_module(plain, name, nn.Sequential(nn.AvgPool2d(2), layer))
    with torch.no_grad():
        torch.testing.assert_close(octave.eval()(images()), plain.eval()(images()))


def test_the_low_maps_end_before_the_last_stage():
    net = built("octave_resnet50", width=0.125, alpha=0.25)
    shares = [(layer.alpha_in, layer.alpha_out) for layer in net.modules() if isinstance(layer, OctaveConv2d)]
    assert shares[0] == (0.0, 0.25)
    ends = {name for name, layer in net.named_modules() if isinstance(layer, OctaveConv2d) and layer.alpha_in > layer.alpha_out}
    assert ends == {"layer4.0.branch.conv1", "layer4.0.shortcut.conv"}
    assert all(share == (0.0, 0.0) for share in shares[-6:])


# Chen et al. 2018 as quoted by Chen et al. 2019, table 6: bL-ResNet-50 (alpha 4, beta 4) has 26.2 M parameters, 2.5 G MACs.
def test_big_little_resnet50_costs_what_is_published(count):
    with torch.device("meta"):
        params, macs = count(models["big_little_resnet50"].build(alpha=4, beta=4), INPUT)
    assert params / 1e6 == pytest.approx(26.2, abs=0.05)
    assert macs / 1e9 == pytest.approx(2.5, abs=0.05)


def test_a_third_of_resnet50_is_saved():
    """The abstract of the paper: about a third of the MACs, at more accuracy."""
    saved = 1 - models["big_little_resnet50"].facts["macs"] / models["resnet50"].facts["macs"]
    assert saved == pytest.approx(1 / 3, abs=0.04)


def test_a_big_little_stage_by_hand():
    net = built("big_little_resnet50", width=0.125, num_classes=7).eval()
    stage = net.layer2
    x = torch.randn(2, 32, 16, 12, generator=torch.Generator().manual_seed(0))
    big = little = x
    for block in stage.branches.big:
        big = block(big)
    for layer in stage.branches.little:
        little = layer(little)
    assert (big.shape[2:], little.shape[2:]) == ((8, 6), (16, 12))
    merged = F.relu(little + big.repeat_interleave(2, 2).repeat_interleave(2, 3))
    with torch.no_grad():
        torch.testing.assert_close(stage(x), stage.fusion(merged))
    assert stage(x).shape[2:] == (8, 6)
    assert big.min() < 0  # nothing is rectified before the sum


@pytest.mark.parametrize(("beta", "blocks"), [(1, [2, 3, 5]), (2, [1, 1, 2]), (4, [1, 1, 1])])
def test_beta_shortens_and_alpha_thins_the_little_branch(beta, blocks):
    net = built("big_little_resnet50", width=0.125, beta=beta, alpha=4)
    branches = [module for module in net.modules() if isinstance(module, BigLittle)][1:]  # the first is the stem
    assert [len(module[1]) - 2 for module in branches] == blocks  # and 1x1 with its norm behind them
    assert [module[1][-2].in_channels * 4 for module in branches] == [module[1][-2].out_channels for module in branches]


@pytest.mark.parametrize("options", [{"alpha": 0}, {"beta": -1}])
def test_a_bad_branch_is_refused(options):
    with pytest.raises(UsageError, match="alpha and beta"):
        built("big_little_resnet50", width=0.125, **options)


@pytest.mark.parametrize("modulated", [False, True])
def test_a_deformable_resnet_starts_as_the_resnet(modulated):
    plain = built("resnet20", width=0.5)
    bent = built("deformable_resnet20", width=0.5, last=5, modulated=modulated)
    with torch.no_grad():
        torch.testing.assert_close(bent.eval()(images(16)), plain.eval()(images(16)), rtol=1e-4, atol=1e-4)
    layers = [name for name, layer in bent.named_modules() if isinstance(layer, DeformableConv2d)]
    assert layers == ["layer3.0.conv2", "layer3.1.conv1", "layer3.1.conv2", "layer3.2.conv1", "layer3.2.conv2"]
    extra = sum(p.numel() for p in bent.parameters()) - sum(p.numel() for p in plain.parameters())
    fields = 27 if modulated else 18
    assert extra == 5 * (9 * 32 * fields + fields)


def test_deformable_resnet50_bends_the_last_stage():
    with torch.device("meta"):
        net = models["deformable_resnet50"].build()
    assert [n for n, m in net.named_modules() if isinstance(m, DeformableConv2d)] == [f"layer4.{i}.conv2" for i in range(3)]
    assert models["deformable_resnet50"].facts["params"] == models["resnet50"].facts["params"] + 3 * (9 * 512 * 18 + 18)


@pytest.mark.parametrize("last", [0, 17, True])
def test_no_more_layers_bend_than_there_are(last):
    with torch.device("meta"), pytest.raises(UsageError, match="16 3x3"):
        models["deformable_resnet50"].build(last=last)


def test_an_active_resnet_starts_as_the_resnet_with_18_numbers_more_a_layer():
    plain, active = built("resnet20", width=0.5), built("active_resnet20", width=0.5)
    with torch.no_grad():
        torch.testing.assert_close(active.eval()(images(16)), plain.eval()(images(16)), rtol=1e-4, atol=1e-4)
    assert models["active_resnet20"].facts["params"] == models["resnet20"].facts["params"] + 18 * 18
    assert models["active_resnet20"].facts["macs"] == models["resnet20"].facts["macs"]


def test_the_plain_active_net_has_the_layers_of_the_authors_file():
    with torch.device("meta"):
        net = models["active_plain"].build()
    layers = [layer for layer in net.modules() if isinstance(layer, ActiveConv2d)]
    assert [(layer.out_channels, layer.kernel_size, layer.stride) for layer in layers] == [
        (16, 1, 1), (48, 3, 1), (48, 3, 1), (96, 3, 2), (96, 3, 1), (192, 3, 2), (192, 3, 1),
    ]  # fmt: skip
    weights = 3 * 16 + 9 * (16 * 48 + 48 * 48 + 48 * 96 + 96 * 96 + 96 * 192 + 192 * 192) + 192 * 1000 + 1000 * 10 + 10
    norms, positions = 2 * (16 + 2 * (48 + 96 + 192) + 1000), 2 * (1 + 6 * 9)
    assert sum(p.numel() for p in net.parameters()) == weights + norms + positions
