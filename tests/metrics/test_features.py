"""Generated images judged by what a network sees in them."""

import pytest
import torch
from torch import nn

from danlu import create
from danlu.errors import UsageError
from danlu.metrics import features, frechet, inception_score, kernel_mmd, score_generated


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.rand(13, 1, 6, 6, generator=draws), torch.rand(11, 1, 6, 6, generator=draws) ** 2


def test_features_of_a_layer_in_parts(net: nn.Module, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    fakes, _ = images
    net.train()
    net[2].eval()
    modes = [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    seen = features(net, fakes, at="2", batch_size=4)
    logits = features(net, fakes, batch_size=5)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not net[2]._forward_hooks
    net.eval()
    assert not seen.requires_grad
    assert torch.allclose(seen, net[:3](fakes).mean((2, 3)), atol=1e-6)
    assert torch.allclose(logits, net(fakes), atol=1e-6)


def test_scores_are_those_of_the_features(net: nn.Module, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    fakes, reals = images
    net.eval()
    seen, wanted = net[:3](fakes).mean((2, 3)), net[:3](reals).mean((2, 3))
    assert score_generated("frechet", net, fakes, reals, at="2") == pytest.approx(frechet(seen, wanted), rel=1e-4)
    text = "kernel_mmd(kernel='polynomial', unbiased=True)"
    expected = kernel_mmd(seen, wanted, kernel="polynomial", unbiased=True)
    assert score_generated(text, net, fakes, reals, at="2") == pytest.approx(expected, rel=1e-4)
    chances = net(fakes).softmax(1)
    assert score_generated("inception_score", net, fakes) == pytest.approx(inception_score(chances), rel=1e-5)
    assert score_generated("inception_score", net, fakes, reals) == pytest.approx(inception_score(chances), rel=1e-5)


def test_any_callable_and_a_net_of_the_zoo(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    fakes, reals = images
    assert score_generated("frechet", lambda x: x.flatten(1), fakes, reals) == pytest.approx(
        frechet(fakes.flatten(1), reals.flatten(1))
    )
    lenet = create("resnet20(width=0.25)", num_classes=10, in_channels=1, seed=0)
    wide = [nn.functional.interpolate(part, 32) for part in (fakes[:3], reals[:3])]
    assert score_generated("mode_score", lenet, *wide) > 0


def test_refusals(net: nn.Module, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    fakes, reals = images
    with pytest.raises(UsageError, match="frechet, inception_score"):
        score_generated("psnr", net, fakes, reals)
    with pytest.raises(UsageError, match="real ones"):
        score_generated("frechet", net, fakes)
    with pytest.raises(UsageError, match="unknown layer"):
        features(net, fakes, at="nowhere")
    with pytest.raises(UsageError, match="torch module"):
        features(lambda x: x, fakes, at="2")
    with pytest.raises(UsageError, match="no images"):
        features(net, fakes[:0])
    with pytest.raises(UsageError, match="batch_size"):
        features(net, fakes, batch_size=0)
    with pytest.raises(UsageError, match="one row for each of 13"):
        features(lambda x: x.sum((1, 2, 3)), fakes)
    unused = nn.ModuleDict({"used": nn.Identity(), "idle": nn.Identity()})
    unused.forward = lambda x: unused["used"](x)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="takes no part"):
        features(unused, fakes, at="idle")
