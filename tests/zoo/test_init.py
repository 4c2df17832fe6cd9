"""Fresh weights: signals keep their scale on the way through a net, and training starts near log(classes)."""

import math

import pytest
import torch
from torch import nn

from danlu.zoo import models
from danlu.zoo._init import initialised


def test_a_deep_net_without_norm_keeps_the_scale_of_its_input():
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i in range(12):
        layers += [nn.Conv2d(4 if i == 0 else 32, 32, 3, padding=1, padding_mode="circular"), nn.ReLU()]
    net = initialised(nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 36, 10)))
    with torch.no_grad():
        x = net[:-2](torch.randn(16, 4, 6, 6))
    # E[x^2] is kept by a layer with weights of variance 2 / fan_in and a ReLU.
    assert 0.3 < float(x.square().mean()) < 3


def test_a_depthwise_layer_has_the_fan_of_one_channel():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(256, 256, 3, groups=256), nn.BatchNorm2d(256), nn.Flatten(), nn.Linear(256, 2))
    std = float(initialised(net)[0].weight.detach().std())
    assert std == pytest.approx(math.sqrt(2 / 9), rel=0.05)


def test_norms_and_biases_start_neutral():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))
    for parameter in net.parameters():
        nn.init.constant_(parameter, 9.0)
    initialised(net)
    assert torch.equal(net[1].weight, torch.ones(8))
    assert not torch.cat([net[0].bias, net[1].bias, net[3].bias]).any()
    assert net[3].weight.std() < 1


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v1", "squeezenet1_1", "lenet5", "allconv6"])
def test_the_first_loss_is_near_that_of_guessing(name):
    torch.manual_seed(0)
    entry = models[name]
    net = entry.build(num_classes=10, width=0.5).train()
    shape = (entry.facts["input"][0], 64, 64) if "size" not in entry.options() else entry.facts["input"]
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net(torch.randn(20, *shape)), torch.arange(20) % 10)
    assert float(loss) == pytest.approx(math.log(10), abs=0.6)


def test_squeezenet_starts_with_every_class_alive():
    torch.manual_seed(0)
    net = models["squeezenet1_1"].build(num_classes=10, width=0.5, dropout=0.0)
    with torch.no_grad():
        assert (net(torch.randn(8, 3, 64, 64)) > 0).float().mean() > 0.9
