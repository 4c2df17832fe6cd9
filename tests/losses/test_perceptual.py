"""The perceptual loss: sums over maps by hand, the network that it leaves alone, and what it must not see twice."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import danlu
from danlu.errors import UsageError
from danlu.losses import Features, perceptual


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True), nn.Flatten()
    )


def images(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_sum_over_maps_of_mean_squares(net: nn.Sequential) -> None:
    features = Features(net, ["1", "3"])
    net.eval()
    total = {"l2": 0.0, "l1": 0.0}
    for end, weight in ((2, 0.5), (4, 2.0)):
        a, b = (nn.Sequential(*list(net)[:end])(images(seed)) for seed in (1, 2))
        total["l2"] += weight * float((a - b).detach().square().sum()) / a.numel()
        total["l1"] += weight * float((a - b).detach().abs().sum()) / a.numel()
    for distance, expected in total.items():
        found = perceptual(images(1), images(2), features, distance=distance, weights=[0.5, 2])  # type: ignore[arg-type]
        assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_pixels_themselves_and_a_function_of_ones_own(net: nn.Sequential) -> None:
    assert torch.equal(perceptual(images(1), images(2), nn.Identity()), F.mse_loss(images(1), images(2)))
    x = images(1).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: perceptual(x, images(2).double(), Features(net.double(), ["3"])), (x,))


def test_the_network_stays_as_it_is_and_the_image_learns(net: nn.Sequential) -> None:
    features = Features(net.train(), ["1", "3"]).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x = images(1).requires_grad_(True)
    first = perceptual(x, images(2), features)
    first.backward()
    assert x.grad is not None
    assert float(perceptual(x.detach() - 0.1 * x.grad, images(2), features)) < float(first.detach())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert not features.model.training
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert not any(module._forward_hooks for module in features.modules())


def test_a_zoo_net_by_layer_names() -> None:
    torch.manual_seed(0)
    features = Features(danlu.create("vgg11(width=0.125) | fit_input(size=32)"), ["features.3", "features.8"])
    x = torch.randn(1, 3, 32, 32)
    assert [len(m) for m in features(x)] == [1, 1]
    assert float(perceptual(x, x, features)) == 0 < float(perceptual(x, -x, features))


def test_what_it_refuses(net: nn.Sequential) -> None:
    with pytest.raises(UsageError, match="unknown layer 'conv1'"):
        Features(net, ["conv1"])
    with pytest.raises(UsageError, match="list of module names"):
        Features(net, [])
    twice = nn.Sequential(*[shared := nn.ReLU(), nn.Conv2d(3, 3, 1), shared])
    with pytest.raises(UsageError, match="'0' runs 2 times"):
        Features(twice, ["0"])(images(1))
    with pytest.raises(UsageError, match="3 weights do not go with 1 maps"):
        perceptual(images(1), images(2), net, weights=[1, 2, 3])
    with pytest.raises(UsageError, match="from 0 and not all 0"):
        perceptual(images(1), images(2), net, weights=[-1])
