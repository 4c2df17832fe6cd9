"""The inception family: published maps and counts, blocks against plain computations, side classifiers that train."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import danlu
from danlu.data import load_data
from danlu.errors import UsageError
from danlu.train import TrainConfig, fit, lr_find
from danlu.zoo import models
from danlu.zoo.inception_resnet_v2 import Residual
from danlu.zoo.inception_v3 import BLOCK_E, GridMean, Mixed
from danlu.zoo.xception import Block, SeparableConv2d

# What each part gives, channels and side, at the published input.
MAPS = {
    # Ioffe and Szegedy 2015, figure 5
    "inception_v2": {
        "conv1": (64, 112), "maxpool1": (64, 56), "conv3": (192, 56), "maxpool2": (192, 28), "inception3a": (256, 28),
        "inception3b": (320, 28), "inception3c": (576, 14), "inception4a": (576, 14), "inception4d": (576, 14),
        "inception4e": (1024, 7), "inception5a": (1024, 7), "inception5b": (1024, 7),
    },
    # Szegedy et al. 2015, table 1
    "inception_v3": {
        "Conv2d_1a_3x3": (32, 149), "Conv2d_2a_3x3": (32, 147), "Conv2d_2b_3x3": (64, 147), "maxpool1": (64, 73),
        "Conv2d_4a_3x3": (192, 71), "maxpool2": (192, 35), "Mixed_5d": (288, 35), "Mixed_6e": (768, 17), "Mixed_7a": (1280, 8),
        "Mixed_7c": (2048, 8),
    },
    # Szegedy et al. 2016, figures 3 and 9
    "inception_v4": {
        "stem": (64, 147), "stem_a": (160, 73), "stem_b": (192, 71), "stem_c": (384, 35), "block_a4": (384, 35),
        "reduction_a": (1024, 17), "block_b7": (1024, 17), "reduction_b": (1536, 8), "block_c3": (1536, 8),
    },
    "inception_resnet_v2": {
        "stem": (192, 35), "stagea": (320, 35), "stageb": (1088, 17), "stagec": (2080, 8), "last": (2080, 8), "conv": (1536, 8),
    },
    # Chollet 2016, figure 5
    "xception": {
        "act2": (64, 147), "block1": (128, 74), "block2": (256, 37), "block3": (728, 19), "block11": (728, 19),
        "block12": (1024, 10), "act4": (2048, 10),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_the_published_maps(name):
    with torch.device("meta"):
        net = models[name].build().eval()
    seen = {}
    for part in MAPS[name]:
        net.get_submodule(part).register_forward_hook(lambda _, __, y, part=part: seen.update({part: tuple(y.shape[1:])}))
    net(torch.empty(1, *models[name].facts["input"], device="meta"))
    assert seen == {part: (channels, side, side) for part, (channels, side) in MAPS[name].items()}


def test_inception_v2_has_the_count_of_the_authors_code():
    # TensorFlow-Slim's own test: 10,173,112 numbers without the classifier: weights, and a shift and two running statistics for
    # each norm; its separable stem alone has a bias in the place of its norm.
    with torch.device("meta"):
        net = models["inception_v2"].build()
    weights = sum(layer.weight.numel() for layer in net.modules() if isinstance(layer, nn.Conv2d))
    norms = sum(layer.num_features for layer in net.modules() if isinstance(layer, nn.BatchNorm2d))
    assert weights + 3 * (norms - 64) + 64 == 10_173_112


def test_inception_v2_has_two_3x3_for_every_5x5():
    with torch.device("meta"):
        kernels = {layer.kernel_size for layer in models["inception_v2"].build().modules() if isinstance(layer, nn.Conv2d)}
    assert kernels == {(1, 1), (3, 3), (7, 7)}


@pytest.mark.parametrize(("name", "largest"), [("inception_v3", 5), ("inception_v4", 3)])
def test_large_filters_are_factorised(name, largest):
    with torch.device("meta"):
        kernels = {layer.kernel_size for layer in models[name].build().modules() if isinstance(layer, nn.Conv2d)}
    assert {(1, 7), (7, 1), (1, 3), (3, 1)} < kernels
    assert max(min(kernel) for kernel in kernels) == largest


def test_the_last_blocks_of_inception_v3_split_a_layer_in_two():
    torch.manual_seed(0)
    block = Mixed(16, BLOCK_E, width=0.1).eval()
    x = torch.randn(2, 16, 6, 5)
    point = block.branch3x3_1(x)
    double = block.branch3x3dbl_2(block.branch3x3dbl_1(x))
    pooled = block.branch_pool(F.avg_pool2d(x, 3, 1, 1))
    parts = [
        block.branch1x1(x),
        block.branch3x3_2a(point), block.branch3x3_2b(point),
        block.branch3x3dbl_3a(double), block.branch3x3dbl_3b(double),
        pooled,
    ]  # fmt: skip
    y = block(x)
    torch.testing.assert_close(y, torch.cat(parts, dim=1))
    assert y.shape[1] == block.out_channels


def test_a_residual_inception_block_adds_a_share_of_its_branches():
    torch.manual_seed(0)
    branches = ([(8, 1)], [(8, 1), (8, 3)])
    block = Residual(12, branches, 0.25, width=1.0).eval()
    x = torch.randn(2, 12, 5, 5)
    found = torch.cat([block.branches[0](x), block.branches[1](x)], dim=1)
    added = F.conv2d(found, block.project.weight, block.project.bias)
    torch.testing.assert_close(block(x), (x + added / 4).relu())
    last = Residual(12, branches, 1.0, width=1.0, relu=False).eval()
    nn.init.zeros_(last.project.weight)
    nn.init.zeros_(last.project.bias)
    assert torch.equal(last(x), x)


def test_inception_resnet_v2_repeats_as_published():
    with torch.device("meta"):
        net = models["inception_resnet_v2"].build()
    blocks = [(block.scale, block.project.out_channels) for block in net.modules() if isinstance(block, Residual)]
    assert blocks == [(0.17, 320)] * 10 + [(0.10, 1088)] * 20 + [(0.20, 2080)] * 9 + [(1.0, 2080)]


def test_xception_has_36_convolution_layers():
    with torch.device("meta"):
        net = models["xception"].build()
    separable = [module for module in net.modules() if isinstance(module, SeparableConv2d)]
    assert len(separable) == 34  # and the two plain ones in front
    assert all(module.conv1.groups == module.conv1.in_channels for module in separable)


def test_a_separable_layer_of_xception_is_a_dense_one_with_a_factored_kernel():
    torch.manual_seed(0)
    layer = SeparableConv2d(5, 7).double()
    x = torch.randn(2, 5, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.pointwise.weight * layer.conv1.weight[:, 0], padding=1))


@pytest.mark.parametrize(("widths", "stride", "relu"), [((8, 8), 1, True), ((8, 12), 2, True), ((12, 12), 2, False)])
def test_a_block_of_xception_adds_its_shortcut_last(widths, stride, relu):
    torch.manual_seed(0)
    block = Block(8, widths, stride=stride, relu=relu).eval()
    x = torch.randn(2, 8, 7, 6)
    y, given = x, x.clone()
    layers = [layer for layer in block.rep if isinstance(layer, SeparableConv2d | nn.BatchNorm2d)]
    for i, layer in enumerate(layers):
        y = layer(y.relu() if i % 2 == 0 and (relu or i > 0) else y)
    if stride == 2:
        y = F.max_pool2d(y, 3, 2, 1)
    shortcut = x if widths[-1] == 8 and stride == 1 else block.skipbn(F.conv2d(x, block.skip.weight, stride=stride))
    torch.testing.assert_close(block(given), y + shortcut)
    assert torch.equal(given, x), "the first ReLU leaves what the shortcut needs"


def test_the_flattened_net_has_the_weights_of_its_formula():
    weights, channels = 0, 3
    for out in (96, 128, 256):
        weights += out * (channels + 5 + 5) + out * (out + 5 + 5) + 6 * out  # two stages, a bias behind each step
        channels = out
    assert models["flattened_net"].facts["params"] == weights + 256 * 10 + 10


def test_the_flattened_net_is_linear_between_its_relus():
    net = models["flattened_net"].build(width=0.25)
    x = torch.randn(2, 2, 3, 16, 16, dtype=torch.float64)
    layer = net.conv1.double()
    zero = layer(torch.zeros_like(x[0]))
    torch.testing.assert_close(layer(x[0] + x[1]), layer(x[0]) + layer(x[1]) - zero)


def test_the_flattened_net_starts_on_a_sane_scale():
    torch.manual_seed(0)
    net = models["flattened_net"].build(dropout=0.0).eval()
    assert 0.2 < net(torch.randn(16, 3, 32, 32)).std() < 5


SIDES = {"googlenet": ((0.3, 0.3, 1.0), 13_004_888), "inception_v3": ((0.4, 1.0), 27_161_264)}


@pytest.mark.parametrize("name", SIDES)
def test_side_classifiers_cost_nothing_in_eval_mode(name, count):
    weights, params = SIDES[name]
    with torch.device("meta"):
        net = models[name].build(aux=True)
    assert net.exit_weights == weights
    assert count(net, models[name].facts["input"]) == (params, models[name].facts["macs"])


@pytest.mark.parametrize("name", SIDES)
def test_side_classifiers_answer_and_learn_in_training_mode(name):
    weights, _ = SIDES[name]
    net = danlu.create(f"{name}(width=0.125, aux=True) | fit_input(size=32)", num_classes=7, seed=0)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    y = net.train()(x)
    assert y.shape == (4, len(weights), 7)
    y.logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net.eval()(x).shape == (4, 7)


def test_googlenet_s_side_classifiers_read_4a_and_4d():
    net = danlu.create("googlenet(width=0.125, aux=True)", seed=0).train()
    maps = {}
    for name in ("inception4a", "inception4d"):
        net.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: maps.update({name: y}))
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    y = net(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(y[:, 0], net.aux1(maps["inception4a"]))
    torch.testing.assert_close(y[:, 1], net.aux2(maps["inception4d"]))


def test_training_and_the_range_test_take_side_classifiers():
    digits = load_data("digits")
    few = replace(digits.subset(96), val=digits.val.only(np.arange(0, len(digits.val), 7)))
    net = danlu.create("googlenet(width=0.125, aux=True) | fit_input(size=8)", num_classes=10, in_channels=1, seed=0)
    config = TrainConfig(steps=4, batch_size=16, lr=0.01, precision="fp32", memory_format="nchw")
    fitted = fit(net, few, config)
    assert 0 <= fitted.best_accuracy <= 1
    moved = {
        name: not torch.equal(old, dict(fitted.model.named_parameters())[name]) for name, old in net.named_parameters()
    }  # fmt: skip
    assert moved["aux1.fc2.weight"]
    assert moved["aux2.conv.conv.weight"]
    assert moved["conv1.conv.weight"]
    found = lr_find(net, few, config, steps=20, low=1e-4, high=10.0)
    assert math.isfinite(found.suggestion)


@pytest.mark.parametrize(("high", "wide"), [(5, 5), (9, 6), (17, 17), (18, 24)])
def test_grid_mean_by_its_windows(high, wide):
    x = torch.randn(2, 3, high, wide, dtype=torch.float64)
    y = GridMean(5)(x)
    for i in range(5):
        for j in range(5):
            rows = slice(i * (high // 5), high - (4 - i) * (high // 5))
            columns = slice(j * (wide // 5), wide - (4 - j) * (wide // 5))
            torch.testing.assert_close(y[:, :, i, j], x[:, :, rows, columns].mean((2, 3)))
    if high == wide == 17:
        torch.testing.assert_close(y, F.avg_pool2d(x, 5, 3))


def test_images_too_small_for_a_side_classifier_are_named():
    net = danlu.create("inception_v3(width=0.125, aux=True)", num_classes=7, seed=0).train()
    with pytest.raises(UsageError, match=r"needs a map of 5x5 at least, got 3x3"):
        net(torch.zeros(2, 3, 75, 75))
