"""The blocks compute what their papers say."""

import torch
from torch import nn

from danlu.nn import PadShortcut
from danlu.zoo import models
from danlu.zoo.resnet import BasicBlock, Bottleneck
from danlu.zoo.squeezenet import Fire


def test_a_residual_block_whose_branch_is_zero_is_its_rectified_shortcut():
    for block in (BasicBlock(8, 8), Bottleneck(32, 8)):
        last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
        nn.init.zeros_(last.weight)
        x = torch.randn(2, 8 * block.expansion, 5, 5)
        assert torch.equal(block(x.clone()), x.relu())


def test_a_residual_block_adds_its_branch_before_the_last_activation():
    torch.manual_seed(0)
    block = BasicBlock(4, 6, stride=2, downsample=PadShortcut(4, 6, stride=2)).eval()
    x = torch.randn(2, 4, 8, 8)
    branch = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    shortcut = torch.cat([x[:, :, ::2, ::2], torch.zeros(2, 2, 4, 4)], dim=1)
    torch.testing.assert_close(block(x.clone()), (branch + shortcut).relu())


def test_fire_puts_the_1x1_maps_before_the_3x3_maps():
    torch.manual_seed(0)
    fire = Fire(8, 4, 16)
    x = torch.randn(2, 8, 6, 6)
    squeezed = fire.squeeze(x).relu()
    out = fire(x)
    torch.testing.assert_close(out[:, :16], fire.expand1x1(squeezed).relu())
    torch.testing.assert_close(out[:, 16:], fire.expand3x3(squeezed).relu())


def test_small_resnets_have_no_weights_in_their_shortcuts():
    net = models["resnet20"].build()
    shortcuts = [module for module in net.modules() if isinstance(module, PadShortcut)]
    assert [(s.in_channels, s.out_channels, s.stride) for s in shortcuts] == [(16, 32, 2), (32, 64, 2)]
    weighted = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 20


def test_a_narrow_small_resnet_pads_only_where_channels_grow():
    net = models["resnet8"].build(width=0.25)
    shortcuts = [module for module in net.modules() if isinstance(module, PadShortcut)]
    assert [(s.in_channels, s.out_channels) for s in shortcuts] == [(8, 8), (8, 16)]
    assert net(torch.zeros(2, 3, 9, 9)).shape == (2, 10)


def test_the_depth_in_a_name_counts_weighted_layers():
    for name in (
        "resnet8",
        "resnet14",
        "resnet20",
        "resnet56",
        "resnet18",
        "resnet34",
        "resnet50",
        "vgg11",
        "vgg16",
        "allconv8_1",
    ):
        with torch.device("meta"):
            net = models[name].build()
        layers = [n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in n]
        assert len(layers) == int("".join(c for c in name.split("_")[0] if c.isdigit()))


def test_vgg_sees_the_same_at_its_own_size_with_and_without_the_mean():
    # At 224 the maps are 7x7 already, so that the averaging that other sizes need changes nothing.
    net = models["vgg11"].build(width=0.125, num_classes=3).eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net.classifier(net.features(x).flatten(1)))
