"""The light nets against the published counts of their papers, and against what makes each of them what it is."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.edits import edit
from danlu.encodings import bake
from danlu.errors import UsageError
from danlu.nn import DSConv2d, LearnedGroupConv2d
from danlu.zoo import create, models
from danlu.zoo.mobilenet_crelu import CReLUBlock
from danlu.zoo.shufflenet_v1 import ShuffleUnit

SIZE = (3, 224, 224)


def counted(count, name, shape=SIZE, **options):
    with torch.device("meta"):
        return count(models[name].build(**options), shape)


# Million MACs by width and side of the input: Howard et al. 2017, tables 6 and 7, and the authors' list of released weights.
# That list has 34 for a quarter of the width at 192, which cannot be: it is (192 / 224)^2 of 41, as for the other widths.
MOBILENETS = {
    1.0: {224: 569, 192: 418, 160: 290, 128: 186},
    0.75: {224: 325},
    0.5: {224: 149, 192: 110, 160: 77, 128: 49},
    0.25: {224: 41, 160: 21, 128: 14},
}


@pytest.mark.parametrize("width", MOBILENETS)
def test_the_resolutions_of_mobilenet(width, count):
    with torch.device("meta"):
        net = models["mobilenet_v1"].build(width=width)
    for size, published in MOBILENETS[width].items():
        assert count(net, (3, size, size))[1] / 1e6 == pytest.approx(published, rel=0.01, abs=0.6)


# Zhang et al. 2017, table 1 (complexity of ShuffleNet 1x) and table 2 (0.5x); the 2x net and the parameters in millions as in
# the authors' release.
@pytest.mark.parametrize(
    ("groups", "width", "macs", "params"),
    [
        (1, 1.0, 143, None), (2, 1.0, 140, None), (3, 1.0, 137, 1.9), (4, 1.0, 133, None), (8, 1.0, 137, 2.4),
        (1, 0.5, 38, None), (3, 0.5, 38, 0.7), (8, 0.5, 40, 1.0), (3, 2.0, 524, 5.4), (8, 2.0, 522, 6.5),
    ],
)  # fmt: skip
def test_the_published_shufflenets(groups, width, macs, params, count):
    found = counted(count, "shufflenet_v1", groups=groups, width=width)
    assert found[1] / 1e6 == pytest.approx(macs, rel=0.02)
    if params is not None:
        assert found[0] / 1e6 == pytest.approx(params, abs=0.051)


@pytest.mark.parametrize("groups", [0, 5, 16, "3", True])
def test_shufflenet_has_the_published_groups_only(groups):
    with torch.device("meta"), pytest.raises(UsageError, match="1, 2, 3, 4 and 8 groups"):
        models["shufflenet_v1"].build(groups=groups)


@pytest.mark.parametrize("width", [0.125, 0.3, 0.7, 1.3])
@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
def test_a_shufflenet_of_any_width_has_channels_for_its_groups(groups, width):
    with torch.device("meta"):
        net = models["shufflenet_v1"].build(groups=groups, width=width)
        assert net.eval()(torch.empty(1, 3, 32, 32)).shape == (1, 1000)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_shuffle_unit_is_the_three_convolutions_with_a_permutation_between(stride):
    torch.manual_seed(0)
    unit = ShuffleUnit(12, 24 if stride == 2 else 12, groups=3, stride=stride).double().eval()
    inner, groups = unit.conv2.out_channels, 3
    x = torch.rand(2, 12, 5, 7, dtype=torch.float64)
    scale = (1 + 1e-5) ** -0.5  # of fresh norms
    y = (F.conv2d(x, unit.conv1.weight, groups=groups) * scale).clamp(min=0)
    order = [i * (inner // groups) + j for j in range(inner // groups) for i in range(groups)]
    y = F.conv2d(y[:, order], unit.conv2.weight, stride=stride, padding=1, groups=inner) * scale
    y = F.conv2d(y, unit.conv3.weight, groups=groups) * scale
    y = x + y if stride == 1 else torch.cat([F.avg_pool2d(x, 3, 2, 1), y], dim=1)
    torch.testing.assert_close(unit(x), y.clamp(min=0))


def operations(net, shape):
    """Million operations as CondenseNet's authors count them: MACs, biases, inputs of ReLUs, and pixels that pools read."""
    total = 0

    def add(layer, inputs, output):
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += output[0, 0].numel() * layer.weight.numel()
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel() + layer.bias.numel()
        else:
            total += inputs[0].numel()

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.ReLU | nn.AvgPool2d | nn.AdaptiveAvgPool2d):
            layer.register_forward_hook(add)
    with torch.no_grad():
        net.eval()(torch.empty(1, *shape, device="meta"))
    return total / 1e6


# The authors' README: million operations and million parameters of the condensed nets, every second of its six.
CONDENSED = {50: (28.6, 0.22), 86: (65.8, 0.52), 110: (98.2, 0.79)}


@pytest.mark.parametrize("depth", CONDENSED)
def test_the_published_condensenets_of_cifar(depth):
    net = models["condensenet_cifar"].build(depth=depth)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    condensed = edit(net, "condense").model.to("meta")
    published, params = CONDENSED[depth]
    assert round(sum(p.numel() for p in condensed.parameters()) / 1e6, 2) == params
    assert operations(condensed, (3, 32, 32)) == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize(("groups", "published", "params"), [(4, 529, 4.8), (8, 274, 2.9)])
def test_the_published_condensenets_of_imagenet(groups, published, params):
    net = edit(models["condensenet74"].build(groups=groups), "condense").model.to("meta")
    # The authors also drop half of the inputs of the classifier.
    dropped = net.fc.weight.numel() // 2
    assert round((sum(p.numel() for p in net.parameters()) - dropped) / 1e6, 1) == params
    assert operations(net, SIZE) - dropped / 1e6 == pytest.approx(published, rel=0.005)


def test_condensenet_refuses_other_depths_and_groups():
    with torch.device("meta"), pytest.raises(UsageError, match="a depth of 50, 74, 86, 98, 110, 122; got depth=62"):
        models["condensenet_cifar"].build(depth=62)
    with torch.device("meta"), pytest.raises(UsageError, match="4 and 8 groups; got groups=2"):
        models["condensenet74"].build(groups=2)


def test_growth_doubles_and_every_layer_sees_all_before_it():
    with torch.device("meta"):
        net = models["condensenet74"].build()
    seen = [layer.in_channels for layer in net.modules() if isinstance(layer, LearnedGroupConv2d)]
    growth = [8] * 4 + [16] * 6 + [32] * 8 + [64] * 10 + [128] * 8
    assert seen == [16, *itertools.accumulate(growth[:-1], initial=16)][1:]


def test_the_blocks_of_the_column_s_crelu_net(count):
    # Model v2.1.4 of the column: 36 million MACs of an 80x80 image up to conv5_4, counted with 256 maps a block.
    with torch.device("meta"):
        net = models["mobilenet_crelu"].build()
    _, macs = count(net.features[:13], (3, 80, 80))
    assert macs / 1e6 == pytest.approx(36, abs=0.5)
    blocks = [layer for layer in net.features if isinstance(layer, CReLUBlock)]
    assert [(b.grouped.in_channels, b.grouped.out_channels, b.grouped.groups) for b in blocks] == [(512, 256, 256)] * 5


def test_a_crelu_block_gives_its_maps_and_their_negatives_to_the_norm():
    torch.manual_seed(0)
    block = CReLUBlock(8).eval()
    seen = []
    block.bn2.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    block(torch.randn(2, 8, 5, 5))
    assert torch.equal(seen[0][:, :4], -seen[0][:, 4:])


def test_dsconv_resnet_is_the_resnet_in_dsconv_encoding():
    # The same weights come out of two places: the layers of this net, and the edit that encodes a given one.
    net = create("dsconv_resnet18(width=0.25, bits=3, block=8)", num_classes=5, seed=0).eval()
    plain = create("resnet18(width=0.25)", num_classes=5, seed=0)
    encoded = edit(plain, "quantize_weights(method='dsconv', bits=3, block=8, skip=['conv1', 'fc'])").model
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(x), bake(encoded).eval()(x), rtol=1e-4, atol=1e-5)


def test_dsconv_resnet_trains_two_numbers_a_block():
    with torch.device("meta"):
        net, plain = models["dsconv_resnet18"].build(), models["resnet18"].build()
    layers = [layer for layer in net.modules() if isinstance(layer, DSConv2d)]
    integers = sum(layer.weight.numel() for layer in layers)
    assert integers == sum(m.weight.numel() for m in plain.modules() if isinstance(m, nn.Conv2d)) - plain.conv1.weight.numel()
    trained = sum(p.numel() for layer in layers for p in layer.parameters())
    assert trained == 2 * integers // 64 + 2 * sum(layer.out_channels for layer in layers)


@pytest.mark.parametrize("options", [{"bits": 1}, {"block": 0}])
def test_dsconv_resnet_refuses_what_its_layers_refuse(options):
    with torch.device("meta"), pytest.raises(UsageError, match="DSConv2d has"):
        models["dsconv_resnet18"].build(**options)
