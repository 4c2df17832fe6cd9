"""BranchyNets against the authors' code, and what their exits do."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from danlu.data.spec import Input
from danlu.deploy import export_exits
from danlu.nn import EarlyExit
from danlu.zoo import models

# In the authors' code: the inputs of the linear layers, those of the heads first.
LINEAR = {"branchy_lenet": [640, 720, 84], "branchy_alexnet": [512, 128, 1024, 256, 128]}
NAMES = ["branchy_lenet", "branchy_alexnet", "branchy_resnet"]


def built(name: str, **options: object) -> EarlyExit:
    torch.manual_seed(0)
    net = models[name].build(**options)
    assert isinstance(net, EarlyExit)
    return net


@pytest.mark.parametrize("name", LINEAR)
def test_the_linear_layers_see_what_they_see_in_the_authors_code(name: str) -> None:
    net = built(name)
    assert [layer.in_features for layer in net.modules() if isinstance(layer, nn.Linear)] == LINEAR[name]
    # At the size of the paper the maps are of that size already: the averaging changes nothing.
    seen: list[tuple[Tensor, Tensor]] = []
    for pool in net.modules():
        if isinstance(pool, nn.AdaptiveAvgPool2d):
            pool.register_forward_hook(lambda pool, inputs, output: seen.append((inputs[0], output)))
    net.eval()(torch.randn(2, *models[name].facts["input"]))
    assert len(seen) == len(net.places) + 1
    assert all(torch.equal(before, after) for before, after in seen)


def test_the_second_exit_of_the_resnet_is_behind_its_37th_convolution() -> None:
    with torch.device("meta"):
        net = models["branchy_resnet"].build()
    trunk = net.plain()
    layers = [name for name, layer in trunk.named_modules() if isinstance(layer, nn.Conv2d)]
    assert len(layers) + 1 == 110
    assert sum(name.split(".")[0] in ("conv1", "layer1") for name in layers) == 37
    assert net.places == ("layer1.module.0", "layer1")
    heads = [net.point(place).head for place in net.places]
    assert [sum(isinstance(layer, nn.Conv2d) for layer in head.modules()) for head in heads] == [3, 2]


@pytest.mark.parametrize("name", NAMES)
def test_the_last_exit_is_the_trunk_and_an_answer_is_one_of_the_exits(name: str) -> None:
    net = built(name, width=0.25)
    shape = models[name].facts["smallest"]
    x = torch.randn(16, *shape)
    if name == "branchy_resnet":
        net.train()(x)  # running statistics, so that the maps do not grow with every block
    net.eval()
    with torch.no_grad():
        exits = net.exits(x)
        assert torch.equal(exits[-1], net.plain()(x))
        net.thresholds.fill_(2.0)
        assert torch.equal(net(x), exits[0])
        net.thresholds.zero_()
        assert torch.equal(net(x), exits[-1])


@pytest.mark.parametrize("name", NAMES)
def test_an_exit_trains_what_lies_before_it_alone(name: str) -> None:
    net = built(name, width=0.25)
    first, *_, last = net.train()(torch.randn(4, *models[name].facts["smallest"])).unbind(1)
    head = list(net.point(net.places[0]).head.parameters())
    ends = next(iter(net.parameters())), list(net.net.children())[-1].weight

    def learns(exit: Tensor, parameters: Iterable[Tensor]) -> list[bool]:
        return [bool(gradient.any()) for gradient in torch.autograd.grad(exit.sum(), list(parameters), retain_graph=True)]

    assert learns(first, ends) == [True, False]
    assert learns(last, ends) == [True, True]
    assert any(learns(first, head))
    assert not any(learns(last, head))


def test_its_file_stops_at_the_exit(tmp_path: Path) -> None:
    net = built("branchy_lenet", width=0.25, num_classes=3).eval()
    about = Input((16, 16), 1, (0.5,), (0.5,))
    path = export_exits(net, tmp_path / "net.onnx", input=about, classes=["a", "b", "c"])  # compared with torch by onnxruntime
    assert path.stat().st_size > 1000
