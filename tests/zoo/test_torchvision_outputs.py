"""With the weights of torchvision's net, ours computes what torchvision's computes. Needs a torchvision that can be imported."""

import pytest
import torch

from danlu.zoo import models

# Nets with side classifiers, of which the published weights are; torchvision's give them in training only.
OPTIONS = {"googlenet": {"aux": True}, "inception_v3": {"aux": True}}
MISSING = "torchvision is not installed beside this torch"
NAMES = [
    "alexnet", "densenet121", "densenet161", "densenet169", "densenet201", "googlenet", "inception_v3", "resnet18", "resnet34",
    "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d", "squeezenet1_0", "squeezenet1_1", "vgg11",
    "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "wide_resnet50_2", "wide_resnet101_2",
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if name in models])
def test_same_weights_same_outputs(name):
    torchvision = pytest.importorskip("torchvision", reason=MISSING, exc_type=ImportError)
    torch.manual_seed(0)
    extra = {"init_weights": True, "transform_input": False} if name in OPTIONS else {}
    theirs = getattr(torchvision.models, name)(weights=None, **extra).eval()
    for layer in theirs.modules():  # running statistics of a net that has seen something
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    ours = models[name].build(**OPTIONS.get(name, {})).eval()
    ours.load_state_dict(theirs.state_dict())
    side = 139 if name.startswith("inception") else 97
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, got = theirs(x), ours(x)
    torch.testing.assert_close(got / wanted.std(), wanted / wanted.std(), rtol=0, atol=1e-4)


def test_every_net_of_torchvision_s_classics_is_compared():
    torchvision = pytest.importorskip("torchvision", reason=MISSING, exc_type=ImportError)
    assert {name for name in torchvision.models.list_models(torchvision.models) if name in models} <= set(NAMES)
