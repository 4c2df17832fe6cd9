"""Nets with shortcuts: published sizes, and what makes each kind of block what it is, computed another way."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.nn import Highway, StochasticDepth
from danlu.zoo import models
from danlu.zoo.preact_resnet import PreactBasic, PreactBottleneck
from danlu.zoo.resnet import BasicBlock
from danlu.zoo.resnet_in_resnet import DualBlock, DualLayer
from danlu.zoo.resnext import Block32x4d
from danlu.zoo.wide_resnet import WideUnit

# Parameters in millions as the papers print them (ResNet table 6, identity mappings table 4, wide ResNet tables 4 and 5, ResNeXt
# table 7, highway table 1); without a point, the exact count of the weights that torchvision publishes.
PUBLISHED = {
    "highway19": 2.3, "resnet32": 0.46, "resnet44": 0.66, "resnet110": 1.7, "preact_resnet110": 1.7, "preact_resnet164": 1.7,
    "wide_resnet16_8": 11.0, "wide_resnet28_10": 36.5, "resnext29_8x64d": 34.4, "stochastic_depth_resnet110": 1.7,
    "resnet152": 60_192_808, "wide_resnet101_2": 126_886_696, "resnext101_32x8d": 88_791_336,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_sizes(name):
    wanted = PUBLISHED[name]
    got = models[name].facts["params"]
    assert got == wanted if isinstance(wanted, int) else got / 1e6 == pytest.approx(wanted, rel=0.02)


# Convolutions and linear layers on the way from the input to the logits, shortcuts aside.
@pytest.mark.parametrize(
    ("name", "depth"),
    [("highway19", 19), ("resnet110", 110), ("preact_resnet20", 20), ("preact_resnet164", 164), ("preact_resnet50", 50),
     ("wide_resnet16_8", 14), ("resnext29_8x64d", 29), ("resnext101_32x8d", 101), ("stochastic_depth_resnet110", 110),
     ("resnet_in_resnet", 18)],
)  # fmt: skip
def test_the_name_counts_the_layers(name, depth):
    # WRN's 6 n + 4 are its convolutions, those of three shortcuts among them, without the classifier: 6 n + 2 by this count.
    with torch.device("meta"):
        net = models[name].build()
    weighted = [key for key, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len([key for key in weighted if not any(part in key for part in ("shortcut", "downsample", "gate"))]) == depth


def test_a_highway_with_closed_gates_is_the_net_without_its_gated_layers():
    net = models["highway19"].build(width=0.25).eval()
    gated = [layer for layer in net.modules() if isinstance(layer, Highway)]
    assert len(gated) == 14
    assert all(torch.equal(layer.gate.bias, torch.full_like(layer.gate.bias, -2.0)) for layer in gated)
    for layer in gated:
        nn.init.constant_(layer.gate.bias, -40.0)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    without = nn.Sequential(*(child for name, child in net.named_children() if not name.startswith("layer")))
    torch.testing.assert_close(net(x), without(x))


@pytest.mark.parametrize("unit", [PreactBasic(8, 8), PreactBottleneck(8, 2), WideUnit(8, 8)])
def test_pre_activation_leaves_the_identity_clean(unit):
    x = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(unit.conv3.weight if isinstance(unit, PreactBottleneck) else unit.conv2.weight)
    assert torch.equal(unit.eval()(x), x)
    post = BasicBlock(8, 8).eval()
    nn.init.zeros_(post.conv2.weight)
    assert torch.equal(post(x), x.relu())  # the form of 2015 cuts what is below zero


def test_dropout_of_a_wide_unit_lies_between_its_convolutions():
    unit = WideUnit(4, 4, dropout=0.5).train()
    seen = []
    unit.conv2.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    unit(torch.randn(8, 4, 6, 6, generator=torch.Generator().manual_seed(0)))
    assert 0.6 < (seen[0] == 0).double().mean() < 0.9  # a half by ReLU, of the rest a half by dropout


def test_a_grouped_block_is_a_sum_of_branches():
    torch.manual_seed(0)
    block = Block32x4d(256, 64).double().eval()
    x = torch.randn(1, 256, 3, 3, dtype=torch.float64)
    total = torch.zeros_like(x)
    for group in range(32):
        own = slice(4 * group, 4 * group + 4)
        y = F.batch_norm(F.conv2d(x, block.conv1.weight[own]), torch.zeros(4).double(), torch.ones(4).double()).relu()
        y = F.conv2d(y, block.conv2.weight[own], padding=1)
        y = F.batch_norm(y, torch.zeros(4).double(), torch.ones(4).double()).relu()
        total += F.conv2d(y, block.conv3.weight[:, own])
    total = F.batch_norm(total, torch.zeros(256).double(), torch.ones(256).double())
    torch.testing.assert_close(block(x), (x + total).relu())


def test_the_two_streams_are_the_four_convolutions_of_the_paper():
    torch.manual_seed(0)
    layer = DualLayer(3, 5, stride=2).double().eval()
    x = torch.randn(2, 6, 7, 7, dtype=torch.float64)
    r, t = x[:, :3], x[:, 3:]
    w = layer.conv.weight

    def conv(y, weight):
        return F.conv2d(y, weight, stride=2, padding=1)

    residual = conv(r, w[:5, :3]) + conv(t, w[:5, 3:])
    residual[:, :3] += r[:, :, ::2, ::2]
    transient = conv(r, w[5:, :3]) + conv(t, w[5:, 3:])
    torch.testing.assert_close(layer(x), torch.cat([residual, transient], 1).div((1 + layer.bn.eps) ** 0.5).relu())


def test_a_block_of_the_two_streams_adds_to_the_residual_one_only():
    block = DualBlock(4, 4).eval()
    for layer in (block.layer1, block.layer2):
        nn.init.zeros_(layer.conv.weight)
    x = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    y = block(x)
    torch.testing.assert_close(y[:, :4], x[:, :4].relu() + x[:, :4], rtol=1e-4, atol=1e-4)
    assert not y[:, 4:].any()  # what the transient stream held is gone


def test_survival_falls_in_equal_steps_and_inference_is_the_constant_net():
    entry = models["stochastic_depth_resnet110"]
    net, constant = entry.build(width=0.5).eval(), models["resnet110"].build(width=0.5).eval()
    survival = [layer.survival for layer in net.modules() if isinstance(layer, StochasticDepth)]
    assert survival == pytest.approx([1 - (i + 1) / 54 / 2 for i in range(54)])
    assert sum(survival) == pytest.approx(40, abs=0.5)  # "from 54 to about 40 blocks" in the paper
    constant.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(x), constant(x))
    with torch.device("meta"), pytest.raises(UsageError, match="survival"):
        entry.build(survival=0.0)
