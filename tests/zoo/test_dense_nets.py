"""Dense and dual path nets: who reads whom, what passes through unchanged, and the published widths."""

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.zoo import models
from danlu.zoo.densenet import DenseLayer
from danlu.zoo.dpn import DualPathBlock

DENSE = models.names("densenet*")


def built(name: str, **options) -> nn.Module:
    with torch.device("meta"):
        return models[name].build(**options)


def alive(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for norm in (layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.3, generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


@pytest.mark.parametrize(
    ("name", "depth"),
    [("densenet121", 121), ("densenet161", 161), ("densenet169", 169), ("densenet201", 201),
     ("densenet40_12", 40), ("densenet_bc100_12", 100), ("dpn68", 68), ("dpn92", 92), ("dpn98", 98)],
)  # fmt: skip
def test_the_number_in_the_name_counts_the_layers(name, depth):
    # Convolutions on the longest way and the classifier: the projections of dual path nets lie beside it.
    net = built(name)
    layers = [key for key, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear) and ".shortcut." not in key]
    assert len(layers) == depth


@pytest.mark.parametrize("name", DENSE)
def test_every_layer_reads_all_maps_before_it(name):
    # The paper's counting: layer l of a stage reads k_0 + growth (l - 1) maps, so its stage has L (L + 1) / 2 connections.
    features = built(name).get_submodule("features")
    growth = models[name].options()["growth"].default
    for stage in (part for key, part in features.named_children() if key.startswith("denseblock")):
        reads = [next(layer for layer in dense if isinstance(layer, nn.Conv2d)).in_channels for dense in stage]
        assert reads == [reads[0] + growth * i for i in range(len(reads))]
    transitions = [part.conv for key, part in features.named_children() if key.startswith("transition")]
    share = 1.0 if name == "densenet40_12" else 0.5
    assert [conv.out_channels for conv in transitions] == [conv.in_channels * share for conv in transitions]


@pytest.mark.parametrize("bottleneck", [True, False])
def test_a_dense_layer_by_hand(bottleneck):
    torch.manual_seed(0)
    layer = alive(DenseLayer(5, 3, bottleneck=bottleneck))
    x = torch.randn(2, 5, 6, 7)
    kept = x.clone()
    with torch.no_grad():
        y = layer(x)
    assert torch.equal(x, kept), "in-place activations must not reach the maps that later layers read"
    assert torch.equal(y[:, :5], x)
    new = x
    for norm, conv in (("norm1", "conv1"), ("norm2", "conv2")) if bottleneck else (("norm", "conv"),):
        bn, weight = getattr(layer, norm), getattr(layer, conv).weight
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        new = ((new - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]).clamp(min=0)
        new = nn.functional.conv2d(new, weight, padding=weight.shape[-1] // 2)
    torch.testing.assert_close(y[:, 5:], new)
    assert layer.conv1.out_channels == 12 if bottleneck else layer.conv.out_channels == 3


def test_an_early_map_reaches_the_end_of_its_stage_untouched():
    torch.manual_seed(0)
    net = alive(models["densenet_bc100_12"].build(width=0.25))
    x = torch.randn(1, 24 // 4, 8, 8)
    with torch.no_grad():
        assert torch.equal(net.features.denseblock1(x)[:, : x.shape[1]], x)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("growth", [0, -4, 2.0, "a", True])
def test_a_bad_growth_is_refused(name, growth):
    with pytest.raises(UsageError, match="growth is the number of maps"):
        built(name, growth=growth)


def test_growth_is_what_a_layer_adds():
    wide = built("densenet40_12", growth=24)
    assert wide.features.denseblock1.denselayer1.conv.out_channels == 24
    # Table 2 of the paper: 7.0 M parameters for 100 plain layers with a growth of 24, 1.0 M for 40 with 12.
    assert sum(p.numel() for p in wide.parameters()) > 3.5 * models["densenet40_12"].facts["params"]


def test_dropout_follows_every_layer_when_asked():
    assert not any(isinstance(layer, nn.Dropout) for layer in built("densenet40_12").modules())
    drops = [layer for layer in built("densenet40_12", dropout=0.2).modules() if isinstance(layer, nn.Dropout)]
    assert [drop.p for drop in drops] == [0.2] * 36


# The channels that reach the classifier, as in the released weights.
@pytest.mark.parametrize(("name", "channels"), [("dpn68", 832), ("dpn92", 2688), ("dpn98", 2688)])
def test_the_widths_of_dual_path_nets(name, channels):
    assert built(name).get_submodule("fc").in_features == channels


@pytest.mark.parametrize("first", [True, False])
def test_a_dual_path_block_is_a_residual_and_a_dense_block_in_one(first):
    torch.manual_seed(0)
    block = alive(DualPathBlock(20, 8, 12, 4, groups=2, stride=2 if first else 1, first=first))
    x = torch.randn(2, 20, 9, 9)
    with torch.no_grad():
        computed = block.conv3(block.conv2(block.conv1(x)))
        shortcut = block.shortcut(x) if first else x
        y = block(x)
    assert shortcut.shape[1] == 20  # 12 residual channels, 8 dense ones
    assert y.shape == (2, 24, *computed.shape[2:])
    for channel in range(24):
        if channel < 12:
            expected = shortcut[:, channel] + computed[:, channel]
        elif channel < 20:
            expected = shortcut[:, channel]
        else:
            expected = computed[:, channel - 8]
        assert torch.equal(y[:, channel], expected)


def test_width_keeps_the_channels_of_a_group():
    for width in (0.25, 0.5, 1.0):
        net = built("dpn98", width=width)
        for block in net.get_submodule("stage2"):
            conv = block.conv2.conv
            assert (conv.groups, conv.in_channels // conv.groups) == (40 * width, 8)
