"""Nets that torchvision publishes have its tensors: the same names, the same shapes."""

import json

import pytest
import torch

from danlu.zoo import models

OPTIONS = {name: {"aux": True} for name in ("googlenet", "inception_v3")}  # published with their side classifiers
NAMES = [
    "alexnet",
    "densenet121",
    "googlenet",
    "inception_v3",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext50_32x4d",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg11",
    "vgg16",
    "vgg16_bn",
    "wide_resnet50_2",
]


@pytest.mark.parametrize("name", NAMES)
def test_same_names_and_shapes(name, reference):
    published = json.loads((reference / "torchvision_keys" / f"{name}.json").read_text())
    with torch.device("meta"):
        net = models[name].build(**OPTIONS.get(name, {}))
    assert {key: list(tensor.shape) for key, tensor in net.state_dict().items()} == published


def test_every_published_list_of_a_zoo_net_is_checked(reference):
    published = {path.stem for path in (reference / "torchvision_keys").glob("*.json")}
    assert {name for name in published if name in models} == set(NAMES)
